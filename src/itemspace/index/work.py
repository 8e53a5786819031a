"""What a search reads to find what it finds: the bytes of vectors and codes it looks at, as a share of an exhaustive scan.

The one measure under which a graph, lists, buckets, codes and sketches can be compared without a clock. A search that
looked at as many bytes of vectors chosen at random would expect to find just that share of the answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from itemspace.core.errors import ContractError
from itemspace.core.vectors import Dense
from itemspace.index.beam import walk, walks_at_once
from itemspace.index.bucket_index import BucketIndex
from itemspace.index.distances import table_far
from itemspace.index.flat import FlatIndex
from itemspace.index.hnsw import HNSWIndex
from itemspace.index.ivf import IVFIndex
from itemspace.index.quantized import QuantizedIndex
from itemspace.index.rows import SlotSet
from itemspace.index.sketch_index import SketchIndex
from itemspace.index.vamana import VamanaIndex


def found_reading(index: Any, queries: Dense, k: int, effort: int) -> tuple[np.ndarray, float]:
    """The rows an index finds with a fixed effort, int32 [q, k] (-1: none), and the share of bytes it reads for it.

    effort: candidates that a graph keeps or buckets must hold, lists that are probed, vectors compared after their codes or
    sketches; an exhaustive scan takes none. Bytes of links and bucket numbers do not count. HNSW is counted by usearch.

    Raises:
        ContractError: not an index of vectors that this can look into.
    """
    if isinstance(index, FlatIndex):
        return index.search(queries, k).rows, 1.0
    if isinstance(index, QuantizedIndex):
        index.config = index.config.model_copy(update={"rerank": effort})
        code = index.config.compression
        return index.search(queries, k).rows, 1.0 / code + effort / max(len(index), 1)
    for kind, measure in _KINDS.items():
        if isinstance(index, kind):
            slots, read = measure(
                index, np.asarray(queries.values, np.float32), effort if kind is IVFIndex else max(k, effort)
            )
            rows = index.table.rows.rows[np.maximum(slots[:, :k], 0)]
            return np.where(slots[:, :k] >= 0, rows, -1), float(read) / max(index.table.rows.slots, 1)
    raise ContractError(f"what {type(index).__name__} reads cannot be told.")


def _hnsw(index: HNSWIndex, queries: np.ndarray, effort: int) -> tuple[np.ndarray, float]:
    assert index._graph is not None
    slots, _ = index._graph.search(queries, effort)
    return slots, index._graph.vectors_read(queries, effort)


def _vamana(index: VamanaIndex, queries: np.ndarray, effort: int) -> tuple[np.ndarray, float]:
    from itemspace.index.vamana_graph import VamanaGraph

    graph, read, parts = index._graph, 0, []
    assert isinstance(graph, VamanaGraph)
    step = walks_at_once(len(graph.links))
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        measured = table_far(index.table, part)

        def far(group: np.ndarray, slots: np.ndarray, measured: Any = measured) -> np.ndarray:
            nonlocal read
            read += len(slots)
            return np.asarray(measured(group, slots))

        parts.append(walk(graph.links, graph.entries, len(part), effort, far)[0])
    return np.concatenate(parts), read / max(len(queries), 1)


def _buckets(index: BucketIndex, queries: np.ndarray, effort: int) -> tuple[np.ndarray, float]:
    from itemspace.index.buckets import Buckets

    engine = index._graph
    assert isinstance(engine, Buckets)
    group, _ = engine.candidates(queries, effort)
    slots, _ = engine.search(queries, effort)
    return slots, len(group) / max(len(queries), 1)


def _sketches(index: SketchIndex, queries: np.ndarray, effort: int) -> tuple[np.ndarray, float]:
    from itemspace.index.sketch_index import Sketches

    engine = index._graph
    assert isinstance(engine, Sketches)
    slots, _ = engine.search(queries, effort)
    return slots, len(engine) * engine.size / index.space.dimension + effort


def _ivf(index: IVFIndex, queries: np.ndarray, effort: int) -> tuple[np.ndarray, float]:
    lists = index._lists
    assert lists is not None
    order, near = lists.order(queries, effort)
    everything = SlotSet(None, index.table.rows.slots)
    slots, _ = lists.search(queries, min(effort * 64, len(lists)), order, lists.distances(queries, near), everything)
    return slots, float(lists.sizes[order].sum(1).mean()) + lists.count


_KINDS: dict[Any, Any] = {
    HNSWIndex: _hnsw,
    VamanaIndex: _vamana,
    BucketIndex: _buckets,
    SketchIndex: _sketches,
    IVFIndex: _ivf,
}
