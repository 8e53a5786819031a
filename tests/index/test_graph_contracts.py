"""Vamana, the vector-free graph, hashing, trees and sketches against the contract of an index."""

from __future__ import annotations

from typing import Any

import numpy as np

from itemspace.core.vectors import Dense
from itemspace.index.lsh import LSHIndex
from itemspace.index.recompute import RecomputeIndex
from itemspace.index.rp_trees import RPTreesIndex
from itemspace.index.sketch_index import SketchIndex
from itemspace.index.vamana import VamanaIndex
from itemspace.testing.index import IndexContract


class TestVamana(IndexContract):
    """Small, it plans as it likes: exactly."""

    index = VamanaIndex()
    floor = 0.95
    size = 600


class TestVamanaGraph(IndexContract):
    """The graph is asked first, however few rows there are."""

    index = VamanaIndex(plan="graph")
    floor = 0.95
    size = 600


class TestVamanaGraphDot(IndexContract):
    index = VamanaIndex(plan="graph", degree=24)
    metric = "dot"
    tolerance = 1e-4
    floor = 0.95
    size = 600


class TestVamanaGraphEuclidean(IndexContract):
    index = VamanaIndex(plan="graph", passes=1)
    metric = "euclidean"
    floor = 0.95
    size = 600


class TestLSH(IndexContract):
    index = LSHIndex(plan="graph", ef=400)
    floor = 0.93
    size = 600


class TestLSHDot(IndexContract):
    index = LSHIndex(plan="graph", ef=400)
    metric = "dot"
    tolerance = 1e-4
    floor = 0.9
    size = 600


class TestLSHEuclidean(IndexContract):
    index = LSHIndex(plan="graph", ef=400)
    metric = "euclidean"
    floor = 0.93
    size = 600


class TestRPTrees(IndexContract):
    index = RPTreesIndex(plan="graph", ef=400)
    floor = 0.93
    size = 600


class TestRPTreesDot(IndexContract):
    index = RPTreesIndex(plan="graph", ef=400)
    metric = "dot"
    tolerance = 1e-4
    floor = 0.9
    size = 600


class TestRPTreesEuclidean(IndexContract):
    index = RPTreesIndex(plan="graph", ef=400)
    metric = "euclidean"
    floor = 0.93
    size = 600


class Remembering(RecomputeIndex):
    """One that has a source again when it is opened: the contract's own items, by row."""

    vectors: np.ndarray

    @classmethod
    def open(cls, folder: Any) -> Any:
        return super().open(folder).attach(lambda rows: cls.vectors[rows])


class Recomputed(IndexContract):
    floor = 0.9  # what its codes leave out is not computed
    size = 600

    def items(self, n: int, seed: int = 0) -> Dense:
        made = super().items(n, seed)
        if seed == 0 and n == self.size:
            Remembering.vectors = np.asarray(made.values)
        return made


class TestRecompute(Recomputed):
    index = Remembering(beam=64, promote=0.5)


class TestRecomputeSingleQueue(Recomputed):
    index = Remembering(promote=1.0, cache=0.1)


class TestRecomputeEuclidean(Recomputed):
    index = Remembering(beam=64, promote=0.5)
    metric = "euclidean"


class TestRecomputeDot(Recomputed):
    index = Remembering(beam=64, promote=0.5)
    metric = "dot"
    tolerance = 1e-4


class TestSketch(IndexContract):
    index = SketchIndex(plan="graph", ef=300)
    floor = 0.85
    size = 600


class TestSketchEuclidean(IndexContract):
    index = SketchIndex(plan="graph", map="count", ef=350)
    metric = "euclidean"
    floor = 0.75
    size = 600


class TestSketchDot(IndexContract):
    index = SketchIndex(plan="graph", map="signs", ef=350)
    metric = "dot"
    tolerance = 1e-4
    floor = 0.7
    size = 600
