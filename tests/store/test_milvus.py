import os
import signal
import subprocess
import sys

import pytest

from itemspace.core.errors import ArtifactError, DataError
from itemspace.testing.store import SIMPLE, StoreContract, rows, some_items
from itemspace.testing.store_search import StoreSearchContract
from itemspace.testing.store_states import StoreStates

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")
from itemspace.store.milvus import MilvusConfig, MilvusStore


class ServedConfig(MilvusConfig):
    url: str | None = "env:ITEMSPACE_TEST_MILVUS"


class ServedMilvus(MilvusStore):
    """The same store on a server that is a process of its own, as a cluster would be."""

    config: ServedConfig


class TestEmbeddedMilvus(StoreContract):
    store_class = MilvusStore
    kills = 2


class TestServedMilvus(StoreStates):
    store_class = ServedMilvus
    kills = 1

    @pytest.fixture(autouse=True)
    def _named(self, milvus, monkeypatch):
        monkeypatch.setenv("ITEMSPACE_TEST_MILVUS", milvus)


class TestMilvusSearch(StoreSearchContract):
    store_class = MilvusStore


def test_the_next_process_serves_when_the_first_is_killed(tmp_path):
    """The embedded engine is one process'; the others ask it, and go on without it."""
    MilvusStore.create(tmp_path / "s", items_schema=SIMPLE, id_column="id").close()
    code = (
        "import sys, time; from itemspace.store.milvus import MilvusStore\n"
        f"store = MilvusStore.open({str(tmp_path / 's')!r}); store.put_meta('from', 'the first'); store.release()\n"
        "print('serving', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "serving\n"
        with MilvusStore.open(tmp_path / "s") as store:
            assert not store._entries.connection._hosting
            assert store.meta("from") == "the first"
            store.put_items(rows(0), some_items([0]))
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            assert store.meta("from") == "the first"
            assert store.items()[0].tolist() == [0]
            store.put_items(rows(1), some_items([1]))
            assert store._entries.connection._hosting
    with MilvusStore.open(tmp_path / "s") as store:
        assert store.items()[0].tolist() == [0, 1]


def test_a_commit_that_fails_leaves_nothing(tmp_path, monkeypatch):
    with MilvusStore.create(tmp_path / "s", items_schema=SIMPLE, id_column="id") as store:
        store.put_items(rows(0), some_items([0]))
        insert = store._entries._insert

        def failing(log, given):
            if log == "commits":
                raise ArtifactError("the server went away")
            insert(log, given)

        with monkeypatch.context() as patch:
            patch.setattr(store._entries, "_insert", failing)
            with pytest.raises(ArtifactError, match="went away"):
                store.put_items(rows(0, 1), some_items([0, 1], price=9.0))
        assert store.items()[0].tolist() == [0]
        assert store.items()[2].column("price").to_pylist() == [1.0]
        store.put_items(rows(2), some_items([2]))
        assert store.items()[0].tolist() == [0, 2]


def test_texts_longer_than_milvus_holds_come_back(tmp_path):
    title = 'ü\\"' * 40_000
    with MilvusStore.create(tmp_path / "s", items_schema=SIMPLE, id_column="id") as store:
        table = some_items([0, 1]).set_column(1, "title", [[title, "short"]])
        store.put_items(rows(0, 1), table)
        store.update_items(rows(0), table.select(["price"]).slice(0, 1))
        store.put_meta("long", title)
        store.compact()
        assert store.items()[2].column("title").to_pylist() == [title, "short"]
        assert store.changes(0).table.column("title").to_pylist() == [title, "short"]
        assert store.meta("long") == title


def test_a_server_that_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("ITEMSPACE_TEST_MILVUS", "http://127.0.0.1:1")
    monkeypatch.setattr("itemspace.store.milvus_connection.CONNECT_SECONDS", 1)
    with pytest.raises(ArtifactError, match="Milvus does not answer"):
        ServedMilvus.create(tmp_path / "s", items_schema=SIMPLE, id_column="id")


def test_what_a_killed_writer_sent_may_arrive_late(tmp_path):
    """Its rows, and even its commit, come after the next writer began: they never were."""
    with MilvusStore.create(tmp_path / "s", items_schema=SIMPLE, id_column="id") as store:
        store.put_items(rows(0), some_items([0]))
        late, state = store._entries, store._entries.latest()
        entries = store._put(rows(0, 7), some_items([0, 7], price=-1.0), state.version + 1)
        store.release()
        late._dirty.touch()  # as a killed writer leaves it
        store.put_meta("next", "writer")
        late.add("items", entries)
        late._insert("commits", [late._commit_row(state.next(written=1.0))])
        with MilvusStore.open(tmp_path / "s") as reader:
            for _ in range(2):
                assert reader.items()[0].tolist() == [0]
                assert reader.items()[2].column("price").to_pylist() == [1.0]
                assert reader.meta("next") == "writer"
                assert state.version + 1 not in reader.versions()
                with pytest.raises(DataError, match="not kept"):
                    store.restore(state.version + 1)
                store.compact()
        store.put_items(rows(1), some_items([1]))
        assert store.items()[2].column("price").to_pylist() == [1.0, 1.0]
