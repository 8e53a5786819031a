"""Every way of composing retrievers keeps the contract of a retriever."""

from __future__ import annotations

import numpy as np

from itemspace.core.contracts import Scorer
from itemspace.core.operators import fuse, where
from itemspace.encode.fields import TextFields
from itemspace.encode.lsa import LSAEncoder
from itemspace.index.bm25 import BM25Index
from itemspace.index.flat import FlatIndex
from itemspace.testing.retriever import RetrieverContract


class LongNames(Scorer):
    """Prefers high rows; a scorer whose order has nothing to do with relevance."""

    def score(self, requests, candidates):
        return np.where(candidates >= 0, candidates, -np.inf).astype(np.float32)


def dense(catalog, dimension=16):
    return (LSAEncoder(dimension=dimension).fit(catalog) >> FlatIndex()).build(catalog)


class TestEncoded(RetrieverContract):
    def make(self, catalog):
        return dense(catalog)


def words(catalog):
    return (TextFields(columns=("title", "brand")) >> BM25Index()).build(catalog)


class TestWords(RetrieverContract):
    def make(self, catalog):
        return words(catalog)


class TestHybrid(RetrieverContract):
    def make(self, catalog):
        return fuse(words(catalog), dense(catalog), depth=7).bind(catalog)


class TestFused(RetrieverContract):
    def make(self, catalog):
        return fuse(dense(catalog), dense(catalog, 4), depth=7).bind(catalog)


class TestWeighted(RetrieverContract):
    def make(self, catalog):
        return fuse(dense(catalog), dense(catalog, 4), method="weighted", weights=[0.3, 0.7], depth=7).bind(catalog)


class TestReranked(RetrieverContract):
    def make(self, catalog):
        return (dense(catalog) >> LongNames() % 8).bind(catalog)


class TestFiltered(RetrieverContract):
    def make(self, catalog):
        return (dense(catalog) >> where("price < 200") >> where("brand is not null")).bind(catalog)
