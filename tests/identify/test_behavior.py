"""What codes take from behavior: only training events, and what is computed from them."""

from dataclasses import replace

import numpy as np
import pytest

from itemspace.core.vectors import Dense, VectorSpace
from itemspace.data.splits import leave_one_out
from itemspace.data.worlds import checkerboard
from itemspace.identify.code_rows import padded
from itemspace.identify.cooccurrence import affinity, behavior_vectors, sequence_numbers
from itemspace.identify.digits import SequentialCodes, digits, first_numbers
from itemspace.identify.spectral import SpectralCodes
from itemspace.identify.token_sets import TokenSets


def spectral(source):
    matrix = affinity(source)
    return SpectralCodes(branches=4, leaf=30).fit(matrix).assign(matrix)


def sequential(source):
    numbers = sequence_numbers(source)
    return SequentialCodes(base=16).fit(numbers).assign(numbers)


def aligned(source):
    pytest.importorskip("torch")
    from itemspace.identify.rq_vae import RQVAE

    behavior = behavior_vectors(source, dimension=8)
    content = Dense(
        np.random.default_rng(0).standard_normal((len(behavior), 12)).astype(np.float32), VectorSpace("c", 12)
    )
    made = RQVAE(
        levels=2, codebook_size=8, hidden_sizes=(16,), latent_size=8, alignment=1.0, epochs=2, precision="float32"
    )
    return made.fit(content, behavior=behavior).assign(content)


def tokens(source):
    behavior = behavior_vectors(source, dimension=8)
    content = Dense(
        np.random.default_rng(0).standard_normal((len(behavior), 12)).astype(np.float32), VectorSpace("c", 12)
    )
    return TokenSets(semantic_tokens=2, token_size=8).fit(content).encode(content, behavior)


def with_other_targets(data, seed=1):
    """The same dataset with the last two events of every user (validation and test) at other items."""
    log = data.interactions
    counts = np.bincount(log.user, minlength=len(log.users))
    place = np.arange(len(log)) - np.repeat(np.cumsum(counts) - counts, counts)
    held = place >= counts[log.user] - 2
    item = log.item.copy()
    item[held] = np.random.default_rng(seed).integers(0, len(log.items), int(held.sum()))
    return data.with_interactions(replace(log, item=item))


@pytest.mark.parametrize("build", [spectral, sequential, aligned, tokens])
def test_codes_built_with_interactions_use_the_training_split_only(build):
    data = checkerboard(items=200, users=120, blocks=4, rng=0).data
    other = with_other_targets(data)
    assert not np.array_equal(data.interactions.item, other.interactions.item)
    one, two = build(leave_one_out(data)), build(leave_one_out(other))
    np.testing.assert_array_equal(one.values, two.values)
    # The check can fail: of all events, the codes differ.
    assert not np.array_equal(build(data.interactions).values, build(other.interactions).values)


def test_affinity_counts_users_that_met_both():
    data = checkerboard(items=60, users=20, blocks=2, rng=0).data
    log = data.interactions
    met = np.zeros((20, 60), bool)
    met[log.user, log.item] = True
    expected = met.T.astype(int) @ met.astype(int)
    np.fill_diagonal(expected, 0)
    np.testing.assert_array_equal(affinity(log).values.toarray(), expected)
    last = affinity(log, most_items=1).values
    assert last.nnz == 0


def test_spectral_codes_find_the_communities():
    world = checkerboard(items=160, users=300, blocks=4, rng=0)
    first = padded(spectral(world.data.interactions))[:, 0]
    group = world.truth.item_block
    table = np.zeros((first.max() + 1, group.max() + 1))
    np.add.at(table, (first, group), 1)
    assert table.max(1).sum() / len(group) > 0.9


def test_behavior_vectors_are_near_within_a_community_and_zero_where_nobody_came():
    world = checkerboard(items=100, users=100, blocks=2, rng=0)
    log = world.data.interactions
    keep = log.item != 7
    vectors = behavior_vectors(log.take(np.flatnonzero(keep)), dimension=8).values
    assert not vectors[7].any()
    np.testing.assert_allclose(np.linalg.norm(np.delete(vectors, 7, 0), axis=1), 1, atol=1e-5)


def test_sequence_numbers_follow_the_users():
    assert first_numbers(np.array([4, 2, 4, 0]), 6).tolist() == [2, 3, 1, 4, 0, 5]
    assert digits(np.array([0, 5, 17, 255]), 16, 2).tolist() == [[0, 0], [0, 5], [1, 1], [15, 15]]


def test_token_sets_know_behavior_and_rebuild_content(tmp_path):
    rng = np.random.default_rng(0)
    content = Dense(rng.standard_normal((50, 12)).astype(np.float32), VectorSpace("c", 12))
    behavior = Dense(rng.standard_normal((50, 4)).astype(np.float32), VectorSpace("b", 4))
    made = TokenSets(semantic_tokens=3, token_size=4).fit(content)
    sets = made.encode(content, behavior)
    assert sets.values.shape == (200, 4)
    np.testing.assert_array_equal(sets[7][0], behavior.values[7])
    np.testing.assert_allclose(made.decode(sets).values, content.values, atol=1e-5)
    assert not made.encode(content)[3][0].any()
    made.save(tmp_path)
    np.testing.assert_array_equal(TokenSets.open(tmp_path).encode(content, behavior).values, sets.values)
    fewer = TokenSets(semantic_tokens=3, token_size=2).fit(content)
    error = ((fewer.decode(fewer.encode(content)).values - content.values) ** 2).sum()
    values = content.values - content.values.mean(0)
    best = (np.linalg.svd(values)[1][6:] ** 2).sum()
    assert error == pytest.approx(best, rel=1e-3)
