import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.catalog import Catalog
from itemspace.core.errors import ArtifactError, RequestError
from itemspace.core.requests import Requests
from itemspace.core.where import Compare, Contains, In, StartsWith
from itemspace.encode.lsa import LSAEncoder
from itemspace.testing.retriever import RetrieverContract, priced_catalog
from itemspace.testing.store import SIMPLE, StoreContract, rows, some_items
from itemspace.testing.store_search import NAME, StoreSearchContract, filled

psycopg = pytest.importorskip("psycopg")
from itemspace.store.postgres import PostgresConfig, PostgresStore  # noqa: E402 - after the driver was looked for


@pytest.fixture(autouse=True)
def named(postgres, monkeypatch):
    monkeypatch.setenv("ITEMSPACE_POSTGRES", postgres)


class TestPostgresStore(StoreContract):
    store_class = PostgresStore


class TestPostgresSearch(StoreSearchContract):
    store_class = PostgresStore


class TestPostgresText(RetrieverContract):
    """Full text is a retriever too; what matches is what holds one of the words."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self._path = tmp_path
        yield
        if "_opened" in self.__dict__:
            self._opened.close()

    def make(self, catalog):
        self._opened = filled(PostgresStore, self._path / "s", catalog, LSAEncoder(dimension=4).fit(catalog))
        return self._opened.words(["title", "brand"]).bind(catalog)

    def test_the_words_of_a_query_are_found(self):
        hits = self._made.search(Requests.texts(["lamp", "no such word", "it's & | ! ( ) :* <-> lamp", ""]), 90)
        assert hits.found.tolist()[1] == hits.found.tolist()[3] == 0
        assert hits.found[0] == hits.found[2] == 15
        assert all("lamp" in self._shop.table.column("title")[row].as_py() for row in hits.rows[0] if row >= 0)
        with pytest.raises(RequestError, match="`price` is none"):
            self._opened.words(["price"])


def test_columns_of_any_name_are_kept_and_filtered_by(tmp_path):
    names = ["id", "50%", 'say "hi"', "x" * 80, "x" * 79 + "y", "select", "%s", "ünï", "a.b", "it's"]
    schema = pa.schema([(name, pa.string()) for name in names])
    table = pa.table({name: [f"{at} of {row}" for row in range(3)] for at, name in enumerate(names)}, schema=schema)
    catalog = Catalog.from_table(table, overrides={"id": "id"})
    encoder = LSAEncoder(dimension=2).fit(catalog)
    with filled(PostgresStore, tmp_path / "s", catalog, encoder) as store:
        assert store.items()[2].equals(catalog.table.cast(store.items_schema))
        made = store.searching(encoder, NAME).bind(catalog)
        for at, name in enumerate(names):
            hits = made.search(Requests.texts(["1 of 1"]), 3, Compare(name, "=", f"{at} of 2"))
            assert hits.items(0) == ["0 of 2"]


def test_a_filter_never_becomes_sql(tmp_path):
    catalog = priced_catalog()
    encoder = LSAEncoder(dimension=2).fit(catalog)
    with filled(PostgresStore, tmp_path / "s", catalog, encoder) as store:
        made = store.searching(encoder, NAME).bind(catalog)
        for text in ("'; DROP TABLE items; --", "%s", "%(x)s", "\\'", '"', "$1", "a\x00b"):
            for node in (
                Compare("brand", "=", text),
                Contains("title", text),
                StartsWith("title", text),
                In("brand", (text,)),
            ):
                assert made.search(Requests.texts(["boots"]), 5, node).found.tolist() == [0]
        assert len(store.items()[0]) == 90


def test_the_index_is_walked_on_until_k_match(tmp_path):
    """Thousands of vectors in an HNSW index, and a filter that what is near does not pass."""
    rng = np.random.default_rng(0)
    n, d = 4000, 16
    values = rng.standard_normal((n, d)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    catalog = Catalog.from_table(
        pa.table(
            {
                "id": [f"i{row}" for row in range(n)],
                "title": ["red boots", "blue tent"] * (n // 2),
                "far": values[:, 0].astype(np.float64),
            }
        )
    )
    values = values[[int(name[1:]) for name in catalog.ids.decode(np.arange(n))]]  # rows are in an order of their own
    encoder = LSAEncoder(dimension=2).fit(catalog)
    with PostgresStore.create(tmp_path / "s", items_schema=catalog.table.schema, id_column="id") as store:
        store.put_items(np.arange(n, dtype=np.int32), catalog.table, vectors={"v": values})
        made = store.searching(encoder, "v").bind(catalog)
        made.queries = lambda requests: values[:4]
        assert made.prepare()
        with made.entries.connections.reader() as connection:
            connection.execute("SET enable_seqscan = off")
            connection.execute("SET enable_sort = off")
        asked = Requests.texts(["boots"] * 4)
        for where, allowed in ((None, np.ones(n, bool)), ("far < -0.5", values[:, 0] < -0.5)):
            hits = made.search(asked, 10, where)
            truth = np.where(allowed, values[:4] @ values.T, -np.inf)
            wanted = np.argsort(-truth, axis=1)[:, :10]
            assert hits.found.tolist() == [10] * 4
            assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(hits.rows, wanted, strict=True)]) >= 0.9
        with made.entries.connections.reader() as connection:
            connection.execute("SELECT pg_stat_force_next_flush()")
            used = "SELECT idx_scan FROM pg_stat_all_indexes WHERE schemaname = %s AND indexrelname LIKE 'near_%%'"
            assert connection.execute(used, (made.entries.namespace,)).fetchone()[0] >= 8


def test_a_writer_that_was_killed_leaves_its_place(tmp_path):
    with PostgresStore.create(tmp_path / "s", items_schema=SIMPLE, id_column="id") as store:
        store.put_items(rows(0), some_items([0]))
    code = (
        "import sys, time; from itemspace.store.postgres import PostgresStore\n"
        f"store = PostgresStore.open({str(tmp_path / 's')!r}); store.put_meta('a', 1)\n"
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "held\n"
        with PostgresStore.open(tmp_path / "s") as store:
            with pytest.raises(ArtifactError, match=f"written by process {child.pid}"):
                store.put_meta("b", 1)
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            began = time.monotonic()
            store.put_meta("b", 2)
            assert time.monotonic() - began < 10
            assert (store.meta("a"), store.meta("b")) == (1, 2)


def test_a_connection_that_breaks_is_made_anew_and_loses_the_writers_place(tmp_path, postgres):
    with PostgresStore.create(tmp_path / "s", items_schema=SIMPLE, id_column="id") as store:
        version = store.put_items(rows(0), some_items([0]))
        with psycopg.connect(postgres, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'itemspace %'"
            )
        with pytest.raises(ArtifactError, match="does not answer"):
            store.put_meta("a", 1)
        for _ in range(6):  # every idle connection is gone; each is replaced when it is found out
            try:
                assert store.version == version
                break
            except ArtifactError:
                continue
        store.put_meta("a", 1)
        assert store.meta("a") == 1


def test_deleting_a_store_deletes_its_schema(tmp_path, postgres):
    PostgresStore.create(
        tmp_path / "s", items_schema=SIMPLE, id_column="id", config=PostgresConfig(fsync=False)
    ).close()
    namespace = PostgresStore.open(tmp_path / "s")._entries.namespace
    PostgresStore.delete(tmp_path / "s")
    assert not (tmp_path / "s").exists()
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT to_regnamespace(%s)", (namespace,)).fetchone() == (None,)


def test_a_server_that_is_not_there_is_said(tmp_path, monkeypatch):
    PostgresStore.create(tmp_path / "s", items_schema=SIMPLE, id_column="id").close()
    monkeypatch.setenv("ITEMSPACE_POSTGRES", "postgresql://me:hunter2@127.0.0.1:1/none")
    with pytest.raises(ArtifactError, match="does not answer") as error:
        PostgresStore.open(tmp_path / "s")
    assert "hunter2" not in str(error.value)
