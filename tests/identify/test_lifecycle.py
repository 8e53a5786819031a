"""Codes over the life of a catalogue: additions, removals, refits, reopening."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itemspace.core.errors import ContractError
from itemspace.core.vectors import Dense, Texts, VectorSpace, normalize
from itemspace.identify.code_rows import padded
from itemspace.identify.fsq import FSQ
from itemspace.identify.hierarchical_kmeans import HierarchicalKMeans
from itemspace.identify.lifecycle import Identities, matched_symbols
from itemspace.identify.product import ProductCodes
from itemspace.identify.residual_kmeans import ResidualKMeans
from itemspace.identify.titles import TitleCodes

SPACE = VectorSpace("life", 16, "cosine", True)


def world(n=1200, seed=0):
    rng = np.random.default_rng(seed)
    center = rng.standard_normal((20, 16))
    return Dense(normalize(center[rng.integers(0, 20, n)] + 0.4 * rng.standard_normal((n, 16))), SPACE)


def tokenizer(**options):
    return ResidualKMeans(**{"levels": 3, "codebook_size": 16, "engine": "numpy", **options})


def of(identities, rows):
    """Each row's code."""
    return [identities.codes.of_item(int(row)) for row in rows]


@pytest.mark.parametrize("collisions", ["extra_token", "next_nearest", "sinkhorn"])
def test_a_life(collisions, tmp_path):
    vectors = world()
    made = tokenizer(collisions=collisions)
    first = np.arange(1000, dtype=np.int32)
    life = Identities.start(made.fit(vectors.take(first)), vectors.take(first))
    before = of(life, first)
    new = np.arange(1000, 1200, dtype=np.int32)
    life = life.add(vectors.take(new), new)
    assert of(life, first) == before, "additions move nobody"
    assert life.codes.collisions == 0
    gone = np.arange(0, 100, dtype=np.int32)
    life = life.remove(gone)
    assert len(life.live_codes) == 1100
    again = life.add(world(50, seed=9), np.arange(1200, 1250, dtype=np.int32))
    assert again.codes.collisions == 0, "codes of items that left are not given again"
    back = life.add(vectors.take(gone[:5]), gone[:5])
    assert of(back, gone[:5]) == before[:5], "who comes back has the code it had"
    now = np.arange(100, 1200, dtype=np.int32)
    refit, migration = life.refit(vectors.take(now), now)
    assert refit.codes.collisions == 0
    assert refit.number == 2
    assert len(refit.codes) == 1100
    kept = migration.kept
    assert of(refit, migration.rows[kept]) == of(life, migration.rows[kept])
    assert kept.mean() > 0.5
    refit.save(tmp_path)
    opened = Identities.open(tmp_path)
    assert opened.codes.fingerprint == refit.codes.fingerprint
    more = world(30, seed=5)
    rows = np.arange(2000, 2030, dtype=np.int32)
    assert opened.add(more, rows).codes.fingerprint == refit.add(more, rows).codes.fingerprint


@pytest.mark.parametrize("make", [tokenizer, lambda: ProductCodes(levels=4, codebook_size=16, engine="numpy")])
def test_a_fit_from_nothing_keeps_more_for_the_matching(make):
    vectors, rows = world(), np.arange(1200, dtype=np.int32)
    life = Identities.start(make().fit(vectors), vectors)
    plain = make().fit(vectors, rng=7)
    unmatched = (plain.levels(vectors) == life.tokenizer.levels(vectors)).all(1).mean()
    refit, migration = life.refit(vectors, rows, warm=False, rng=7)
    assert migration.kept_prefixes[0] > 0.5
    assert migration.kept.mean() > unmatched
    np.testing.assert_array_equal(
        refit.tokenizer.levels(vectors), padded(refit.codes)[np.argsort(refit.codes.item), : len(plain.level_sizes)]
    )


def test_the_same_fit_with_symbols_shuffled_keeps_every_code():
    vectors, rows = world(), np.arange(1200, dtype=np.int32)
    fitted = tokenizer().fit(vectors)
    rng = np.random.default_rng(0)
    shuffled = fitted.renamed([rng.permutation(16) for _ in range(3)])
    life = Identities.start(shuffled, vectors)
    refit, migration = life.refit(vectors, rows, warm=False, rng=0)
    assert migration.kept.all()
    assert refit.codes.version == refit.tokenizer.version


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(2, 4), st.integers(0, 10_000))
def test_matching_keeps_at_every_level_what_no_other_names_exceed(n, size, seed):
    rng = np.random.default_rng(seed)
    before, after = rng.integers(0, size, (2, n, 2))
    maps = matched_symbols(before, after, (size, size))
    alive = np.ones(n, bool)
    for level in range(2):
        assert sorted(maps[level].tolist()) == list(range(size))
        kept = (maps[level][after[alive, level]] == before[alive, level]).sum()
        best = max(
            (np.array(p)[after[alive, level]] == before[alive, level]).sum()
            for p in itertools.permutations(range(size))
        )
        assert kept == best
        alive &= maps[level][after[:, level]] == before[:, level]


@pytest.mark.parametrize("make", [lambda: FSQ(levels=2, bins=(4, 4)), lambda: HierarchicalKMeans(branches=4, leaf=8)])
def test_tokenizers_that_cannot_rename_keep_what_comes_out_the_same(make):
    vectors = world()
    first, now = np.arange(1000, dtype=np.int32), np.arange(200, 1200, dtype=np.int32)
    life = Identities.start(make().fit(vectors.take(first)), vectors.take(first))
    refit, migration = life.add(vectors.take(np.arange(1000, 1200)), np.arange(1000, 1200)).refit(
        vectors.take(now), now
    )
    assert refit.codes.collisions == 0
    assert sorted(refit.codes.item.tolist()) == now.tolist()
    assert len(migration.rows) == 1000
    assert of(refit, migration.rows[migration.kept]) == of(
        life.add(vectors.take(np.arange(1000, 1200)), np.arange(1000, 1200)), migration.rows[migration.kept]
    )


def test_words_have_a_life_too():
    titles = Texts({"title": ("red boot", "red boot", "blue hat")})
    life = Identities.start(TitleCodes().fit(titles), titles)
    life = life.add(Texts({"title": ("red boot", "green scarf")}), np.array([3, 4], np.int32))
    assert life.codes.collisions == 0
    assert life.codes.of_item(3)[0][-1] == life.tokenizer.numbers_from + 2


def test_another_space_begins_anew():
    vectors = world()
    life = Identities.start(tokenizer().fit(vectors), vectors)
    other = Dense(vectors.values, VectorSpace("another", 16, "cosine", True))
    refit, migration = life.refit(other, np.arange(1200, dtype=np.int32))
    assert refit.codes.collisions == 0
    assert migration.matched == ()


def test_mistakes_are_refused():
    vectors = world(100)
    life = Identities.start(tokenizer(codebook_size=4).fit(vectors), vectors)
    with pytest.raises(ContractError, match="twice"):
        life.add(vectors.take(np.arange(2)), np.array([500, 500]))
    with pytest.raises(ContractError, match="rows"):
        life.add(vectors.take(np.arange(2)), np.array([500]))
