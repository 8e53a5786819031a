import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.errors import ArtifactError, FormatVersionError
from itemspace.store.contract import StoreConfig
from itemspace.store.lance import LanceStore
from itemspace.testing.store import SIMPLE, StoreContract, rows, some_items

GOLDEN = Path(__file__).parent / "golden" / "store-1"


class TestLanceStore(StoreContract):
    store_class = LanceStore


@pytest.fixture
def golden(tmp_path):
    return Path(shutil.copytree(GOLDEN, tmp_path / "golden"))


def check_golden(store: LanceStore) -> None:
    found, live, table = store.items()
    assert found.tolist() == [0, 1, 2]
    assert live.tolist() == [True, False, True]
    assert table.to_pylist() == [
        {"sku": "b", "title": None, "price": 21.5, "tags": []},
        {"sku": "ü", "title": "Hat", "price": None, "tags": None},
        {"sku": "a", "title": "Boots", "price": 10.0, "tags": ["x"]},
    ]
    at, values = store.vectors("text")
    assert at.tolist() == [0, 2]
    assert values.tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert store.events().column("user").to_pylist() == ["u1", "u2"]
    assert store.meta("recipe") == {"seed": 0}


def test_the_golden_store_opens_and_can_be_written(golden):
    with LanceStore.open(golden) as store:
        assert store.version == 5
        check_golden(store)
        assert store.changes(3).removed.tolist() == [1]
        store.put_meta("another", 1)
        store.compact()
        check_golden(store)


def test_a_newer_format_is_refused_with_the_version_needed(golden):
    about = json.loads((golden / "store.json").read_text())
    (golden / "store.json").write_text(json.dumps({**about, "format": 2, "itemspace": "9.2.0"}))
    with pytest.raises(
        FormatVersionError, match=r"format 2, written by itemspace 9\.2\.0.*reads formats up to 1"
    ) as error:
        LanceStore.open(golden)
    assert 'pip install "itemspace>=9.2.0"' in str(error.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: (p / "store.json").write_text("{"), r"store\.json is damaged"),
        (lambda p: (p / "store.json").write_text('{"type": "photo"}'), "not describe a store"),
        (lambda p: (p / "commits" / "00000005.json").write_text('{"version": 5, "x'), r"00000005\.json is damaged"),
        (lambda p: (p / "commits" / "00000005.json").write_text('{"wrong": 5}'), "not a commit"),
        (lambda p: shutil.rmtree(p / "commits"), "commits is missing"),
        (lambda p: shutil.rmtree(p / "tables" / "items.lance"), r"items\.lance is damaged"),
        (lambda p: shutil.rmtree(p / "tables" / "items.lance" / "_versions"), r"items\.lance is damaged"),
        (lambda p: shutil.rmtree(p / "tables" / "items.lance" / "data"), r"items\.lance is damaged"),
    ],
)
def test_damage_is_named(golden, damage, message):
    damage(golden)
    with pytest.raises(ArtifactError, match=message):
        LanceStore.open(golden).items()


def test_opening_and_asking_the_version_load_no_engine(golden):
    code = (
        "import sys; from itemspace.store.lance import LanceStore\n"
        f"store = LanceStore.open({str(golden)!r})\n"
        "assert store.version == 5 and store.meta('recipe') == {'seed': 0} and store.vector_names() == ['text']\n"
        "assert len(store.changes(5)) == 0 and store.items_schema.names[0] == 'sku'\n"
        "assert 'lancedb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("reopen", [False, True])
def test_a_write_that_fails_before_its_commit_leaves_nothing(tmp_path, monkeypatch, reopen):
    """Vectors and items are in their tables, the commit fails: nobody sees them, then or after the next write."""
    store = LanceStore.create(tmp_path / "s", items_schema=SIMPLE, id_column="id")
    store.put_items(rows(0, 1), some_items([0, 1]), vectors={"v": np.eye(2, dtype=np.float32)})

    def full(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store._log, "write", full)
        if reopen:
            # A killed process takes nothing back itself; the next writer must.
            patch.setattr(store._tables, "recover", lambda versions: versions)
        with pytest.raises(OSError, match="No space"):
            store.put_items(rows(1, 2), some_items([1, 2], price=9.0), vectors={"v": np.ones((2, 2), np.float32)})
        with pytest.raises(OSError, match="No space"):
            store.append_events(pa.table({"user": ["u"], "item": ["lost"]}))
    if reopen:
        store.close()
        store = LanceStore.open(tmp_path / "s")
    for _ in range(2):
        assert store.items()[0].tolist() == [0, 1]
        assert store.items()[2].column("price").to_pylist() == [1.0, 1.0]
        np.testing.assert_array_equal(store.vectors("v")[1], np.eye(2))
        assert store.events().column("item").to_pylist() in ([], ["kept"])
        store.append_events(pa.table({"user": ["u"], "item": ["kept"]})) if store.events().num_rows == 0 else None
        store.update_items(rows(0), pa.table({"title": ["new"]}))
    store.close()


def test_upkeep_keeps_the_folder_small(tmp_path):
    config = StoreConfig(compact_after=10, keep_seconds=0.0, fsync=False)
    with LanceStore.create(tmp_path / "s", items_schema=SIMPLE, id_column="id", config=config) as store:
        store.put_items(np.arange(100), some_items(list(range(100))), vectors={"v": np.ones((100, 4), np.float32)})
        for i in range(100):
            store.update_items(rows(i % 7), pa.table({"price": [float(i)]}))
        store.compact()
        assert len(list((tmp_path / "s" / "commits").iterdir())) <= 2
        assert len(list((tmp_path / "s" / "tables" / "items.lance" / "data").iterdir())) <= 25
        assert store.stats()["superseded"] == 0


def test_fast_writes_do_not_pile_up_states(tmp_path):
    config = StoreConfig(compact_after=10, keep_versions=20, fsync=False)
    with LanceStore.create(tmp_path / "s", items_schema=SIMPLE, id_column="id", config=config) as store:
        for i in range(100):
            store.append_events(pa.table({"user": ["u"], "item": [str(i)]}))
        assert len(list((tmp_path / "s" / "commits").iterdir())) <= 20 + 1 + 10
        assert len(list((tmp_path / "s" / "tables" / "events.lance" / "_versions").glob("*.manifest"))) <= 2 * 20
        store.restore(store.version - 15)
        assert store.events().column("item").to_pylist() == [str(i) for i in range(85)]


def test_readers_follow_small_writes_without_the_engine_and_read_the_same_with_it(tmp_path, monkeypatch):
    """What is kept beside the commits says what the tables say; torn or missing, the tables are asked."""
    with LanceStore.create(tmp_path / "s", items_schema=SIMPLE, id_column="id") as store:
        rows = np.arange(5, dtype=np.int32)
        store.put_items(
            rows,
            pa.table({"id": list("abcde"), "price": [1.0, 2.0, 3.0, 4.0, 5.0]}),
            vectors={"v": np.eye(5, 3, dtype=np.float32)},
        )
        store.append_events(pa.table({"user": ["u"], "item": ["a"]}))
        store.update_items(rows[1:3], pa.table({"price": [7.0, 8.0]}))
        store.remove_items(rows[4:])
        store.put_vectors("v", rows[:1], np.ones((1, 3), np.float32))
        store.put_items(rows[4:], pa.table({"id": ["e"], "price": [9.0]}))  # back, with the vector it had
        store.append_events(pa.table({"user": ["w"], "item": ["b"]}))

    def told(reader):
        found = []
        for since in range(reader.version + 1):
            changes = reader.changes(since)
            written, values = changes.vectors("v")
            found.append((changes.rows.tolist(), changes.live.tolist(), changes.table.to_pylist(), written.tolist()))
            found.append((values.tolist(), changes.lost("v").tolist(), reader.events(max(since, 1)).to_pylist()))
        return found

    with LanceStore.open(tmp_path / "s") as reader:
        by_file = told(reader)
        assert not reader._tables._pins.keys() - {"items", "vectors-v"}  # events were never asked of the engine
    for file in sorted((tmp_path / "s" / "appended").iterdir())[::2]:
        file.write_bytes(file.read_bytes()[:-9])
    with LanceStore.open(tmp_path / "s") as reader:
        assert told(reader) == by_file
    for file in (tmp_path / "s" / "appended").iterdir():
        file.unlink()
    with LanceStore.open(tmp_path / "s") as reader:
        assert told(reader) == by_file


def test_two_writers_in_turn_know_what_the_other_wrote(tmp_path):
    """What a writer remembers between its writes is brought up to date, or dropped, when another wrote meanwhile."""
    with LanceStore.create(tmp_path / "s", items_schema=SIMPLE, id_column="id") as store:
        store.put_items(np.arange(3, dtype=np.int32), pa.table({"id": list("abc"), "price": [0.0, 0.0, 0.0]}))
    with LanceStore.open(tmp_path / "s") as one, LanceStore.open(tmp_path / "s") as two:
        for turn in range(6):
            for number, store in enumerate((one, two)):
                with store.writing():
                    new = np.array([3 + 2 * turn + number], np.int32)
                    _ = store.version
                    store.put_items(new, pa.table({"id": [f"new {new[0]}"], "price": [0.0]}))
                    known = np.arange(new[0] + 1, dtype=np.int32)  # those of the other, too
                    _, _, table = store.items()
                    store.update_items(known, pa.table({"price": [n + 1 for n in table.column("price").to_pylist()]}))
        rows, live, table = one.items()
        assert len(rows) == 15
        assert live.all()
        written = [12, 12, 12, *range(12, 0, -1)]
        assert table.column("price").to_pylist() == written
        assert two.items()[2].equals(table)


def test_a_process_that_commits_all_day_keeps_few_manifests(golden, monkeypatch):
    monkeypatch.setattr("itemspace.store.tables.CACHE_BYTES", 1 << 16)
    sizes = []
    with LanceStore.open(golden) as store:
        for number in range(60):
            store.put_meta("turn", number)
            store.append_events(pa.table({"user": ["u"], "item": ["a"], "time": pa.array([number], pa.int64())}))
            sizes.append(store._tables.session.size_bytes)
    assert 0 < max(sizes) <= 2 * (1 << 16)
