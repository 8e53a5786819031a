import pytest

from itemspace.testing.store import StoreContract
from itemspace.testing.store_search import StoreSearchContract

pytest.importorskip("pymilvus")
from itemspace.store.milvus import MilvusStore


class TestEmbeddedMilvus(StoreContract):
    store_class = MilvusStore
    kills = 3


class TestMilvusSearch(StoreSearchContract):
    store_class = MilvusStore
