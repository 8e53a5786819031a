import pytest

from itemspace.testing.store import StoreContract

pytest.importorskip("pymilvus")
from itemspace.store.milvus import MilvusStore


class TestEmbeddedMilvus(StoreContract):
    store_class = MilvusStore
    kills = 3
