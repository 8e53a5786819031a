"""One-stage alignment: codes of users and items that know of each other."""

import numpy as np
import pytest

from itemspace.core.errors import ContractError
from itemspace.core.vectors import Dense, VectorSpace, normalize
from itemspace.identify.dual import DualAlignment
from itemspace.identify.rq_vae import RQVAE, RQVAEConfig

pytest.importorskip("torch")

SMALL = {
    "levels": 2, "codebook_size": 8, "hidden_sizes": (32,), "latent_size": 8, "precision": "float32", "batch_size": 128
}  # fmt: skip


def side(n, group, seed, name):
    """Content in which the group is a faint part beside a strong one that has nothing to do with it."""
    rng = np.random.default_rng(seed)
    loud = 3 * rng.standard_normal((n, 4)) @ rng.standard_normal((4, 24))
    faint = 0.8 * rng.standard_normal((4, 16))[group] + rng.standard_normal((n, 16))
    content = normalize(np.concatenate([loud, faint], axis=1).astype(np.float32))
    return Dense(content, VectorSpace(name, 40, "cosine", True))


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    user_group, item_group = rng.integers(0, 4, 300), rng.integers(0, 4, 200)
    users, items = np.repeat(np.arange(300), 8), []
    for u in range(300):
        items.append(rng.choice(np.flatnonzero(item_group == user_group[u]), 8))
    return side(300, user_group, 1, "users"), side(200, item_group, 2, "items"), users, np.concatenate(items)


def information(one, other):
    """Mutual information of two columns of symbols, nats."""
    table = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(table, (one, other), 1)
    share = table / table.sum()
    by_chance = share.sum(1, keepdims=True) * share.sum(0, keepdims=True)
    there = share > 0
    return float((share[there] * np.log(share[there] / by_chance[there])).sum())


def told(users, items, world):
    """What a user's first symbol says of the first symbols of the items met."""
    user_vectors, item_vectors, user_rows, item_rows = world
    return information(users.levels(user_vectors)[user_rows, 0], items.levels(item_vectors)[item_rows, 0])


def fitted(world, **options):
    given = {"epochs": 15, "learning_rate": 3e-3, "user_item": 2.0, "same": 2.0, "together": 2.0, **options}
    return DualAlignment(tokenizer=RQVAEConfig(**SMALL), **given).fit(*world)


def test_users_and_items_that_meet_have_codes_that_tell_of_each_other(world):
    alone = [RQVAE(**SMALL, epochs=12).fit(vectors) for vectors in world[:2]]
    aligned = fitted(world)
    assert told(*aligned, world) > told(*alone, world) + 0.2
    assert all(t.assign(v).collisions == 0 for t, v in zip(aligned, world[:2], strict=True))


def test_without_any_alignment_nothing_is_told(world):
    off = fitted(world, user_item=0.0, same=0.0, together=0.0)
    assert told(*off, world) < told(*fitted(world), world) - 0.2


@pytest.mark.parametrize("kept", ["user_item", "same", "together"])
def test_every_alignment_helps_by_itself(world, kept):
    one = {name: 0.0 for name in ("user_item", "same", "together") if name != kept}
    off = fitted(world, user_item=0.0, same=0.0, together=0.0)
    assert told(*fitted(world, **one), world) > told(*off, world) + 0.1


def test_the_seed_decides_and_mistakes_are_refused(world):
    short = {"epochs": 1}
    one, same = (fitted(world, **short)[1].version for _ in range(2))
    assert one == same
    users, items, user_rows, item_rows = world
    with pytest.raises(ContractError, match="row"):
        DualAlignment().fit(users, items, user_rows, item_rows + 1000)
    with pytest.raises(ContractError, match="pairs"):
        DualAlignment().fit(users, items, user_rows[:3], item_rows)


def test_partners_are_other_events_of_the_group():
    from itemspace.identify.dual_training import _next_of_group

    assert _next_of_group(np.array([5, 3, 5, 5, 7])).tolist() == [2, 1, 3, 0, 4]
