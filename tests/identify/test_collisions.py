"""Collisions: whatever the codes, the choice holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from itemspace.core.codes import Codes
from itemspace.core.errors import CapacityError, ContractError
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.identify.code_rows import equal_rows, from_padded, numbered, padded
from itemspace.identify.collisions import _in_turns, in_turns_reference, resolved
from itemspace.identify.health import gini
from itemspace.identify.residual_kmeans import ResidualKMeans
from itemspace.identify.sinkhorn import sinkhorn


@st.composite
def crowded(draw):
    """Codes of one length with many collisions, costs for them, and how many of them are taken already."""
    sizes = tuple(draw(st.lists(st.integers(2, 5), min_size=2, max_size=3)))
    capacity = int(np.prod(sizes[-2:]))  # of one grandprefix: what moving can reach
    n = draw(st.integers(1, capacity))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    levels = np.stack([rng.integers(0, max(1, size // 2), n) for size in sizes], axis=1)
    tables = [rng.random((n, size)).astype(np.float32) for size in sizes]
    for level in range(len(sizes)):
        tables[level][np.arange(n), levels[:, level]] = 0.0
    return levels, sizes, tables


def cost_of(tables):
    return lambda positions, prefix, level: tables[level][positions]


@settings(max_examples=200, deadline=None)
@given(crowded(), st.sampled_from(["extra_token", "next_nearest", "sinkhorn"]), st.integers(0, 100))
def test_no_two_items_share_a_code_whatever_is_taken(case, how, share):
    levels, sizes, tables = case
    n = len(levels)
    cut = n * share // 100
    first = Codes.from_matrix(levels[:cut].astype(np.int32), sizes)
    rest = Codes.from_matrix(levels[cut:].astype(np.int32), sizes)
    taken = resolved(first, how, costs=cost_of(tables)) if cut else None
    after = [table[cut:] for table in tables]
    made = resolved(rest, how, costs=cost_of(after), taken=taken)
    assert len(made) == n - cut
    assert made.collisions == 0
    before = {taken[i] for i in range(cut)} if taken is not None else set()
    assert not before & {made[i] for i in range(len(made))}
    if how == "extra_token":
        np.testing.assert_array_equal(padded(made)[:, : len(sizes)], levels[cut:])
    else:
        assert made.level_sizes == sizes


@settings(max_examples=100, deadline=None)
@given(crowded())
def test_next_nearest_moves_only_items_of_crowded_codes_and_one_of_each_stays(case):
    levels, sizes, tables = case
    made = padded(resolved(Codes.from_matrix(levels.astype(np.int32), sizes), "next_nearest", costs=cost_of(tables)))
    group = equal_rows(levels)
    stayed = (made == levels).all(1)
    assert stayed[np.bincount(group)[group] == 1].all()
    assert (np.bincount(group, stayed, minlength=group.max() + 1) == 1).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 8), st.integers(0, 10_000))
def test_in_turns_is_what_asking_one_by_one_gives(n, groups, symbols, seed):
    rng = np.random.default_rng(seed)
    wants = np.round(rng.random((n, symbols)), 1).astype(np.float32)  # ties
    group = rng.integers(0, groups, n)
    occupied = rng.random((groups, symbols)) < 0.3
    expected = in_turns_reference(wants, group, occupied)
    np.testing.assert_array_equal(_in_turns(wants, group, occupied.copy()), expected)


def test_when_every_prefix_near_is_full_it_says_what_to_do():
    levels = np.zeros((5, 2), np.int32)
    tables = [np.zeros((5, 2), np.float32), np.zeros((5, 2), np.float32)]
    with pytest.raises(CapacityError, match="extra_token"):
        resolved(Codes.from_matrix(levels, (2, 2)), "next_nearest", costs=cost_of(tables))
    fits = resolved(Codes.from_matrix(levels[:4], (2, 2)), "next_nearest", costs=cost_of(tables))
    assert sorted(fits[i] for i in range(4)) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_without_distances_only_a_token_helps():
    codes = Codes(np.array([0, 0, 1]), np.array([0, 1, 3]), np.array([0, 1]), (2, 2))
    with pytest.raises(ContractError, match="extra_token"):
        resolved(codes, "next_nearest")
    assert [resolved(codes, "extra_token")[i] for i in range(2)] == [(0, 0), (0, 1, 0)]
    assert resolved(codes, "allow") is codes


def test_a_removed_items_number_is_not_given_again():
    codes = Codes.from_matrix(np.zeros((3, 1), np.int32), (1,))
    taken = from_padded(np.array([[0, 4]]), np.array([9]), (1, 8))
    assert [resolved(codes, "extra_token", taken=taken)[i][-1] for i in range(3)] == [5, 6, 7]


def test_sinkhorn_is_balanced_and_nearly_optimal():
    rng = np.random.default_rng(0)
    costs = rng.random((12, 6))
    plan = np.exp(sinkhorn(costs, epsilon=0.02, iterations=500))
    np.testing.assert_allclose(plan.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(plan.sum(0), 2, atol=0.02)
    twice = np.tile(costs, 2)
    rows, columns = linear_sum_assignment(twice)
    assert (plan * costs).sum() < 1.05 * twice[rows, columns].sum() + 0.1


def test_sinkhorn_uses_the_last_level_more_evenly_and_costs_no_more_than_twice():
    rng = np.random.default_rng(1)
    space = VectorSpace("crowded", 8, "euclidean")
    center = rng.standard_normal((4, 8))
    values = (center[rng.integers(0, 4, 200)] + 0.3 * rng.standard_normal((200, 8))).astype(np.float32)
    vectors = Dense(values, space)
    made = {
        how: ResidualKMeans(levels=2, codebook_size=64, collisions=how, normalize_residuals=False, engine="numpy").fit(
            vectors
        )
        for how in ("next_nearest", "sinkhorn", "allow")
    }
    error = {}
    for how, tokenizer in made.items():
        codes = padded(tokenizer.assign(vectors))
        error[how] = float(((tokenizer.decode(codes).values - values) ** 2).sum())
        assert (tokenizer.assign(vectors).collisions == 0) == (how != "allow")
    assert error["allow"] <= min(error["next_nearest"], error["sinkhorn"])
    assert error["sinkhorn"] < 2 * error["next_nearest"]
    last = {how: np.bincount(padded(t.assign(vectors))[:, -1], minlength=64) for how, t in made.items()}
    assert gini(last["sinkhorn"]) < gini(last["next_nearest"])


@given(st.lists(st.integers(-1, 3), min_size=0, max_size=30))
def test_numbered_counts_within_groups(values):
    group = np.array(values, np.int64) + 1
    seen = {}
    expected = []
    for g in group.tolist():
        expected.append(seen.get(g, 0))
        seen[g] = seen.get(g, 0) + 1
    np.testing.assert_array_equal(numbered(group), expected)


@given(st.integers(1, 20), st.integers(1, 6), st.integers(0, 1000))
def test_equal_rows_are_equal_rows(n, depth, seed):
    matrix = np.random.default_rng(seed).integers(-1, 3, (n, depth))
    found = equal_rows(matrix)
    same = (matrix[:, None] == matrix[None]).all(2)
    np.testing.assert_array_equal(found[:, None] == found[None], same)


def test_padded_and_back():
    codes = Codes(np.array([1, 2, 0, 3]), np.array([0, 2, 3, 4]), np.array([5, 5, 7]), (4, 3), "v")
    assert (
        from_padded(padded(codes), codes.item, codes.level_sizes, "v").fingerprint
        == from_padded(padded(codes), codes.item, codes.level_sizes, "v").fingerprint
    )
    back = from_padded(padded(codes), codes.item, codes.level_sizes, "v")
    assert [back[i] for i in range(3)] == [codes[i] for i in range(3)]


@pytest.mark.parametrize("how", ["next_nearest", "sinkhorn"])
def test_a_few_items_at_a_time_is_all_at_once(how, monkeypatch):
    from itemspace.identify import collisions

    rng = np.random.default_rng(3)
    sizes = (4, 6, 16)
    levels = np.stack([rng.integers(0, size // 2, 300) for size in sizes], axis=1).astype(np.int32)
    tables = [rng.random((300, size)).astype(np.float32) for size in sizes]
    codes = Codes.from_matrix(levels, sizes)
    whole = resolved(codes, how, costs=cost_of(tables))
    monkeypatch.setattr(collisions, "_ROWS", 7)
    assert resolved(codes, how, costs=cost_of(tables)).fingerprint == whole.fingerprint
    assert whole.collisions == 0
