"""Every index of the house against the contract."""

import importlib.util

import numpy as np
import pytest
import scipy.sparse as sp

from itemspace.core.vectors import Sparse, VectorSpace
from itemspace.index.bm25 import BM25Index
from itemspace.index.flat import FlatIndex
from itemspace.index.hnsw import HNSWIndex
from itemspace.index.ivf import IVFIndex
from itemspace.index.sparse import SparseIndex
from itemspace.testing.index import IndexContract, TextIndexContract


class TestFlat(IndexContract):
    index = FlatIndex()


class TestFlatDot(IndexContract):
    index = FlatIndex()
    metric = "dot"
    tolerance = 1e-4


class TestFlatEuclidean(IndexContract):
    index = FlatIndex()
    metric = "euclidean"


class TestHNSW(IndexContract):
    index = HNSWIndex()
    floor = 0.95


class TestHNSWGraph(IndexContract):
    """The graph is asked first, however few rows there are."""

    index = HNSWIndex(plan="graph")
    floor = 0.95


class TestHNSWGraphUsearch(IndexContract):
    """The graph of the base install."""

    index = HNSWIndex(plan="graph", engine="usearch")
    floor = 0.95


class TestHNSWGraphEuclidean(IndexContract):
    index = HNSWIndex(plan="graph", storage="float32", m=8)
    metric = "euclidean"
    floor = 0.95


class TestIVF(IndexContract):
    index = IVFIndex()
    floor = 0.95


class TestIVFLists(IndexContract):
    """The lists are asked first, however few rows there are."""

    index = IVFIndex(plan="lists")
    floor = 0.93


class TestIVFListsEuclidean(IndexContract):
    index = IVFIndex(plan="lists", lists=30)
    metric = "euclidean"
    floor = 0.93


class TestIVFListsDot(IndexContract):
    index = IVFIndex(plan="lists", codes="float16")
    metric = "dot"
    tolerance = 1e-4
    floor = 0.93


class TestBM25(TextIndexContract):
    index = BM25Index(weights={"title": 3.0}, analyzer={"stemmer": "none"})
    weights = {"title": 3.0}


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
class TestBM25Compiled(TextIndexContract):
    index = BM25Index(weights={"title": 3.0}, analyzer={"stemmer": "none"}, engine="numba")
    weights = {"title": 3.0}


class TestBM25OneField(TextIndexContract):
    index = BM25Index(k1=0.9, b=0.4, analyzer={"stemmer": "none"})
    fields = ("title",)
    k1, b = 0.9, 0.4


class TestSparse(IndexContract):
    index = SparseIndex(block=4096)
    metric = "dot"
    size = 800
    dimension = 60

    def items(self, n, seed=0):
        rng = np.random.default_rng(seed)
        values = np.round(rng.random((n, self.dimension)), 2) * (rng.random((n, self.dimension)) < 0.08)
        values[rng.integers(0, max(n, 1), n // 20)] = values[rng.integers(0, max(n, 1), n // 20)]
        return Sparse(sp.csr_matrix(values.astype(np.float32)), self.space())

    def reference(self, queries, items):
        scores = (queries.values.astype(np.float64) @ items.values.T.astype(np.float64)).toarray()
        return np.where(scores > 0, scores, -np.inf).astype(np.float32)

    def concatenated(self, parts):
        return Sparse(sp.csr_matrix(sp.vstack([part.values for part in parts])), parts[0].space)

    def foreign(self):
        values = self.queries(3).values
        return [
            Sparse(values, self.space("another")),
            Sparse(values, VectorSpace("contract", self.dimension, "cosine")),
        ]
