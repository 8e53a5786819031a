"""Every compressed index against the contract: with rescoring answers carry exact scores, whatever the codes."""

import importlib.util
from typing import ClassVar

import pytest

from itemspace.index.binary import BinaryIndex
from itemspace.index.flat import FlatIndex
from itemspace.index.quantizers import AQIndex, OPQIndex, PQIndex, RaBitQIndex
from itemspace.testing.index import IndexContract

faiss = pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="needs the extra `ann`")


@faiss
class TestPQ(IndexContract):
    index = PQIndex(compression=16, rerank=200)
    floor = 0.9


@faiss
class TestPQEightBits(IndexContract):
    index = PQIndex(compression=16, rerank=200, bits=8)
    metric = "dot"
    tolerance = 1e-4
    floor = 0.9


@faiss
class TestPQLists(IndexContract):
    index = PQIndex(compression=8, lists=12, recall=0.99)
    metric = "euclidean"
    floor = 0.9


@faiss
class TestOPQ(IndexContract):
    index = OPQIndex(compression=16, rerank=200)
    floor = 0.9


@faiss
class TestAQ(IndexContract):
    index = AQIndex(compression=16, levels=2, bits=4, rerank=200)
    floor = 0.9


@faiss
class TestAQEuclidean(IndexContract):
    index = AQIndex(compression=16, levels=2, bits=4, rerank=200)
    metric = "euclidean"
    floor = 0.9


@faiss
class TestRaBitQ(IndexContract):
    index = RaBitQIndex(compression=8, rerank=100)
    floor = 0.95


@faiss
class TestRaBitQLists(IndexContract):
    index = RaBitQIndex(compression=8, lists=8, rerank=100, recall=0.98)
    metric = "euclidean"
    floor = 0.9


class TestBinary(IndexContract):
    index = BinaryIndex(compression=8, rerank=200)
    floor = 0.9


class TestBinarySign(IndexContract):
    index = BinaryIndex(method="sign", bits=96, layers=2, rerank=200)
    metric = "dot"
    tolerance = 1e-4
    floor = 0.6


class TestFlatHalf(IndexContract):
    index = FlatIndex(dtype="float16")
    tolerance = 1e-3
    floor = 0.98


class TestFlatByte(IndexContract):
    index = FlatIndex(dtype="int8")
    tolerance = 0.03
    floor = 0.9


class TestFlatByteEuclidean(IndexContract):
    index = FlatIndex(dtype="int8")
    metric = "euclidean"
    tolerance = 0.05
    floor = 0.9


class TestFlatByteDot(IndexContract):
    index = FlatIndex(dtype="int8")
    metric = "dot"
    tolerance = 0.5
    floor = 0.9


class Estimated(IndexContract):
    """Without rescoring scores are estimates: near the true ones, and a filter that leaves little is answered exactly."""

    tolerance: ClassVar[float] = 0.35
    floor: ClassVar[float] = 0.3


@faiss
class TestPQAlone(Estimated):
    index = PQIndex(compression=8, rerank=0, bits=8)
    floor = 0.5


@faiss
class TestRaBitQAlone(Estimated):
    index = RaBitQIndex(compression=4, rerank=0)
    floor = 0.7


class TestBinaryAlone(Estimated):
    index = BinaryIndex(compression=8, rerank=0)
    tolerance = 0.8
