import pytest

from itemspace.testing.store import StoreContract
from itemspace.testing.store_search import StoreSearchContract

pytest.importorskip("psycopg")
from itemspace.store.postgres import PostgresStore


@pytest.fixture(autouse=True)
def named(postgres, monkeypatch):
    monkeypatch.setenv("ITEMSPACE_POSTGRES", postgres)


class TestPostgresStore(StoreContract):
    store_class = PostgresStore


class TestPostgresSearch(StoreSearchContract):
    store_class = PostgresStore
