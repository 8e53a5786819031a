from itemspace.store.lance import LanceStore
from itemspace.testing.store import StoreContract


class TestLanceStore(StoreContract):
    store_class = LanceStore
