"""The parts of graphs without an engine: links, pruning, walks, hubs, each beside its slow, obvious reference."""

from __future__ import annotations

import numpy as np
import pytest

from itemspace.core.errors import ArtifactError, ContractError
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.beam import walk, walk_reference
from itemspace.index.flat import FlatIndex
from itemspace.index.hubs import hubs_of, pruned_to_hubs
from itemspace.index.links import Adjacency, Links, PackedLinks, reached
from itemspace.index.pruning import distinct_rows, link_back, points_of, pruned, robust_prune, robust_prune_reference
from itemspace.index.recompute import RecomputeIndex
from itemspace.index.rows import RowMap
from itemspace.index.table import VectorTable
from itemspace.index.two_queues import Walk, walk_in_two
from itemspace.index.vamana import VamanaIndex

SPACE = VectorSpace("test", 16, "cosine")


def clustered(n: int, seed: int, metric: str = "cosine") -> Dense:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).standard_normal((12, 16))
    values = centers[rng.integers(0, 12, n)] + 0.4 * rng.standard_normal((n, 16))
    return Dense(values.astype(np.float32), VectorSpace("test", 16, metric))


def table_of(items: Dense) -> VectorTable:
    return VectorTable(items.space, items.values, RowMap(np.arange(len(items)), np.arange(len(items))))


def random_links(n: int, most: int, rng: np.random.Generator) -> np.ndarray:
    table = rng.integers(0, n, (n, most))
    table[np.arange(most) >= rng.integers(0, most + 1, n)[:, None]] = -1
    return table


@pytest.mark.parametrize("n", [1, 2, 9, 300, 1025])
def test_links_in_few_bits_are_the_same_links(n, tmp_path):
    table = random_links(n, 7, np.random.default_rng(n))
    links = Links.of_table(table)
    packed = PackedLinks.of_links(links)
    every = np.arange(n)
    for one in (links, packed, Adjacency(7, table)):
        found = one.of(every)
        assert [row[row >= 0].tolist() for row in found] == [row[row >= 0].tolist() for row in table]
    assert packed.nbytes <= n + len(links.targets) * max(int(n - 1).bit_length(), 1) / 8 + 6
    packed.save(tmp_path)
    np.testing.assert_array_equal(PackedLinks.open(tmp_path).of(every), packed.of(every))
    np.testing.assert_array_equal(packed.links().targets, links.targets)


def test_what_can_be_walked_to():
    links = Links.of_table(np.array([[1, -1], [2, -1], [-1, -1], [4, -1], [3, 0]]))
    assert reached(links, np.array([0])).tolist() == [True, True, True, False, False]
    assert reached(links, np.array([2, 3])).all()


@pytest.mark.parametrize("alpha", [1.0, 1.2, 2.0])
def test_pruning_many_nodes_prunes_each_as_one(alpha):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((20, 30, 4))
    own = rng.standard_normal((20, 4))
    far = ((points - own[:, None]) ** 2).sum(2)
    far[rng.random(far.shape) < 0.2] = np.inf
    between = ((points[:, :, None] - points[:, None]) ** 2).sum(3)
    found = robust_prune(far, between, 8, alpha)
    for i in range(20):
        assert found[i][found[i] >= 0].tolist() == robust_prune_reference(far[i], between[i], 8, alpha)


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_links_are_pruned_by_the_points_they_stand_for(metric):
    items = clustered(80, 1, metric)
    points = points_of(table_of(items))
    held = points(np.arange(80)).astype(np.float64)
    candidates = np.random.default_rng(2).integers(-1, 80, (80, 25))
    found = pruned(np.arange(80), candidates, points, 6, 1.2)
    for i in range(80):
        own = np.array(sorted(set(candidates[i].tolist()) - {-1, i}))
        far = ((held[own] - held[i]) ** 2).sum(1)
        between = ((held[own][:, None] - held[own][None]) ** 2).sum(2)
        expected = own[robust_prune_reference(far, between, 6, 1.2)].tolist()
        assert found[i][found[i] >= 0].tolist() == expected


def test_repetitions_and_the_node_itself_are_no_candidates():
    found = distinct_rows(np.array([[3, 0, 3, -1], [5, 5, 5, 5]]), np.array([0, 4]))
    assert [sorted(row[row >= 0].tolist()) for row in found] == [[3], [5]]


def test_links_back_are_there_unless_pruned_for_better_ones():
    items = clustered(200, 3)
    points = points_of(table_of(items))
    graph = Adjacency(6)
    graph.reach(200)
    near = np.argsort(-(points(np.arange(200)) @ points(np.arange(200)).T), axis=1)[:, 1:5]
    graph.table[:, :4] = near
    before = graph.table.copy()
    link_back(graph, np.arange(200), points, 1.2)
    for node in range(200):
        row = graph.table[node][graph.table[node] >= 0].tolist()
        assert len(set(row)) == len(row) <= 6
        assert node not in row
        back = [i for i in range(200) if node in before[i]]
        if len(set(back) | set(before[node][before[node] >= 0].tolist())) <= 6:
            assert set(back) <= set(row)


def test_a_batch_walks_as_every_query_would_alone():
    rng = np.random.default_rng(4)
    table = random_links(150, 6, rng)
    near = rng.random((8, 150)).astype(np.float32)
    links, entry = Links.of_table(table), np.array([3])
    neighbors = [row[row >= 0].tolist() for row in table]
    slots, far = walk(links, entry, 8, 12, lambda group, at: near[group, at])
    for i in range(8):
        expected = walk_reference(neighbors, 3, 12, lambda node, i=i: float(near[i, node]))
        held = slots[i] >= 0
        assert list(zip(far[i][held].tolist(), slots[i][held].tolist(), strict=True)) == expected


def test_a_single_queue_walks_as_a_graph_with_vectors_does():
    rng = np.random.default_rng(5)
    links = Links.of_table(random_links(150, 6, rng))
    near = rng.random((8, 150)).astype(np.float32)
    slots, far = walk(links, np.array([3]), 8, 12, lambda group, at: near[group, at])
    found, exact, trace = walk_in_two(
        links, np.full((8, 1), 3), 8, Walk(12, 1.0, 1), lambda group, at: near[group, at], lambda g, at: -near[g, at]
    )
    np.testing.assert_array_equal(found, slots)
    np.testing.assert_array_equal(-exact, far)
    assert trace.computed.max() <= 150


def test_good_guesses_save_computing_and_find_as_much():
    items, queries = clustered(800, 6), clustered(60, 7)
    exact = FlatIndex().build([items]).search(queries, 5).rows
    index = RecomputeIndex(promote=1.0, beam=64, code_bytes=16).build([items])
    recall, computed = {}, {}
    for promote in (1.0, 0.3):
        index.config = index.config.model_copy(update={"promote": promote})
        hits, cost = index.searched(queries, 5)
        recall[promote] = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(hits.rows, exact, strict=True)])
        computed[promote] = cost.computed.mean()
    assert computed[0.3] < 0.6 * computed[1.0]
    assert recall[0.3] > recall[1.0] - 0.05
    assert recall[1.0] > 0.9


def test_hubs_keep_their_links_and_the_rest_few():
    items = clustered(400, 8)
    graph = VamanaIndex(lists="never").build([items])._graph
    links = graph.links.links()
    hubs = hubs_of(links, 0.05)
    degrees = np.diff(links.offsets) + np.bincount(links.targets, minlength=400)
    assert len(hubs) == 20
    assert degrees[hubs].min() >= np.delete(degrees, hubs).max()
    out = pruned_to_hubs(links, hubs, points_of(table_of(items)), 4, 30, 1.2)
    after = (out.table >= 0).sum(1)
    assert after[hubs].mean() > 2 * np.delete(after, hubs).mean()
    assert np.delete(after, hubs).max() <= 8


def test_every_slot_of_a_graph_can_be_walked_to():
    items = clustered(600, 9)
    graph = VamanaIndex(lists="never").build([items])._graph
    assert reached(graph.links.links(), graph.entries).all()
    index = RecomputeIndex(links=2, hub_links=8).build([items])
    assert reached(index.links.links(), index._frozen.entries).all()


def test_a_vector_free_index_says_what_it_needs(tmp_path):
    items, queries = clustered(300, 10), clustered(5, 11)
    index = RecomputeIndex().build([items])
    expected = index.search(queries, 5)
    index.save(tmp_path)
    held = sum(path.stat().st_size for path in tmp_path.iterdir() if path.suffix == ".npy")
    assert abs(held - index.size().total) < 128 * 10
    assert not any(len(np.load(path)) == 300 and np.load(path).ndim == 2 and np.load(path).shape[1] == 16
                   for path in tmp_path.glob("*.npy"))  # fmt: skip
    opened = RecomputeIndex.open(tmp_path)
    with pytest.raises(ContractError, match="attach"):
        opened.search(queries, 5)
    asked: list[int] = []

    def source(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        assert len(np.unique(rows)) == len(rows)
        return items.values[rows]

    hits, cost = opened.attach(source).searched(queries, 5)
    np.testing.assert_array_equal(hits.rows, expected.rows)
    np.testing.assert_array_equal(hits.scores, expected.scores)
    assert sum(asked) == cost.encoded <= cost.computed.sum()
    with pytest.raises(ContractError, match="source"):
        opened.attach(lambda rows: np.zeros((len(rows), 3), np.float32)).search(queries, 5)
    (tmp_path / "codes.npy").unlink()
    with pytest.raises(ArtifactError, match="Rebuild"):
        RecomputeIndex.open(tmp_path)


def test_what_is_added_is_found_at_once_and_compacted_into_the_graph():
    items, more, queries = clustered(500, 12), clustered(100, 13), clustered(20, 14)
    both = Dense(np.concatenate([items.values, more.values]), items.space)
    index = RecomputeIndex(beam=128, promote=1.0).build([items])
    index.upsert(more, np.arange(500, 600))
    exact = FlatIndex().build([both]).search(queries, 3)
    added = exact.rows >= 500
    assert np.isin(exact.rows[added], index.search(queries, 3).rows).all()
    assert index.size().added > 0
    index.compact()
    assert index.size().added == 0
    assert len(index) == 600
    found = index.search(queries, 3)
    assert (found.rows == exact.rows).mean() > 0.9


def test_a_map_of_vectors_and_links_opens_the_same(tmp_path):
    items, queries = clustered(700, 15), clustered(10, 16)
    index = VamanaIndex(plan="graph", lists="never").build([items])
    index.save(tmp_path)
    opened = VamanaIndex.open(tmp_path)
    assert isinstance(opened._graph.links.targets.base, np.memmap)
    np.testing.assert_array_equal(opened.search(queries, 5).rows, index.search(queries, 5).rows)
    (tmp_path / "links.npy").write_bytes((tmp_path / "links.npy").read_bytes()[:500])
    again = VamanaIndex.open(tmp_path)  # a cache of the vectors: made anew
    np.testing.assert_array_equal(again.search(queries, 5).rows, index.search(queries, 5).rows)
