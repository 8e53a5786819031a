"""Every index of the house against the contract."""

import importlib.util

import pytest

from itemspace.index.bm25 import BM25Index
from itemspace.index.flat import FlatIndex
from itemspace.index.hnsw import HNSWIndex
from itemspace.index.ivf import IVFIndex
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
