"""A Space built from files a chunk at a time answers as one built from memory, before and after changes."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itemspace.data import staged
from itemspace.data.table_files import TableFiles
from itemspace.data.tables import read_tables
from itemspace.space import Space, build
from tests.space.conftest import RECIPE

ASKED = ["waterproof boots", "red tent", "wool socks"]


@pytest.fixture(scope="module")
def files(shop, tmp_path_factory):
    """The demo shop as files a user would have."""
    folder = tmp_path_factory.mktemp("files")
    catalog, log = shop.catalog, shop.interactions
    pq.write_table(catalog.table, folder / "items.parquet", row_group_size=64)
    pq.write_table(next(build._events(log)), folder / "interactions.parquet")
    pairs = shop.judgments.items
    judged = {
        "query": shop.queries.ids.decode(pairs.groups),
        "item_id": catalog.ids.decode(pairs.values),
        "grade": shop.judgments.grades,
    }
    pq.write_table(pa.table(judged), folder / "judgments.parquet")
    asked = {"query_id": shop.queries.ids.values, "text": list(shop.queries.texts)}
    pq.write_table(pa.table(asked), folder / "queries.parquet")
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def pair(files, tmp_path_factory):
    """The same files built from memory, and streamed in small pieces with the words indexed through runs."""
    folder = tmp_path_factory.mktemp("pair")
    with pytest.MonkeyPatch.context() as patch:
        logs = {name: path for name, path in files.items() if name != "items"}
        Space.build(read_tables(files["items"], **logs), path=folder / "whole", recipe=RECIPE).close()
        patch.setattr(staged, "BUCKET_BYTES", 1 << 13)
        patch.setattr(build, "WORDS_IN_MEMORY", 0)
        patch.setattr(build, "WORDS_AT_ONCE", 1 << 12)
        Space.build(TableFiles(**files, stream=True), path=folder / "streamed", recipe=RECIPE).close()
    return folder / "whole", folder / "streamed"


def answers(space):
    """What a Space says, in every way it can be asked."""
    hits = space.search(ASKED, k=20, facets=["category", "price"])
    ids = [hits.items(i) for i in range(3)]
    told = {"ids": ids, "facets": hits.facets, "total": hits.total.tolist(), "scores": hits.scores.tolist()}
    for by in ("lexical", "dense"):
        told[by] = space.search(ASKED, k=20, by=by, where="price < 60").items(0)
    told["sorted"] = space.search("boots", k=20, sort="-price").items()
    told["blank"] = space.search("", k=10).items()
    users = space.dataset().interactions.users.values.to_pylist()[:20]
    told["recommended"] = [space.recommend(user=user, k=10).items() for user in users]
    told["similar"] = space.similar(ids[0][0], k=5).items()
    told["fields"] = space.fields([3, 250, 7])
    return told


def test_the_answers_are_identical(pair):
    with Space.open(pair[0]) as whole, Space.open(pair[1]) as streamed:
        assert streamed.catalog.table.column(1).num_chunks > 4
        assert answers(streamed) == answers(whole)
        one, other = whole.evaluate(), streamed.evaluate()
        assert one.keys() == other.keys()
        for name, report in one.items():
            assert [m for m in report.measures if m.metric != "seconds"] == [
                m for m in other[name].measures if m.metric != "seconds"
            ]


def test_changes_leave_the_answers_identical(pair, tmp_path):
    told = []
    for path in pair:
        copy = tmp_path / path.name
        shutil.copytree(path, copy)
        with Space.open(copy) as space:
            name = space.catalog.schema.id
            ids = space.catalog.ids.values.to_pylist()
            for number in range(70):
                space.add([{name: f"N{number}", "title": f"a new waterproof thing {number}", "price": 5.0}])
            space.update([{name: ids[i], "price": 1.0} for i in range(0, 300, 7)])
            space.update([{name: ids[i], "title": "red tent of wool"} for i in (3, 200, 399)])
            space.remove(ids[10:20])
            told.append(answers(space))
        with Space.open(copy) as space:
            assert answers(space) == told[-1]
    assert told[0] == told[1]


def test_opening_maps_the_catalogue_and_its_ids(pair):
    with Space.open(pair[1]) as space:
        before = pa.total_allocated_bytes()
        assert space.catalog.table.nbytes > 50_000
        assert pa.total_allocated_bytes() == before
        held = {path.name for path in (pair[1] / "generations" / "000001" / "catalog").iterdir()}
        assert held == {"items.arrow", "ids.arrow"}
    assert not list((pair[1] / "stages").iterdir())


BUILD = """
import json, sys
from itemspace.data.table_files import TableFiles
from itemspace.space import Space
files, path, recipe = json.loads(sys.argv[1])
Space.build(TableFiles(**files, stream=True), path=path, recipe=recipe, say=lambda line: print(line, flush=True)).close()
"""


@pytest.mark.parametrize("step", ["reading the items", "writing the store", "indexing words"])
def test_a_killed_streamed_build_never_shows_and_goes_on(pair, files, tmp_path, step):
    path = tmp_path / "shop.space"
    named = {name: str(file) for name, file in files.items()}
    child = subprocess.Popen(
        [sys.executable, "-c", BUILD, json.dumps([named, str(path), RECIPE])], stdout=subprocess.PIPE, text=True
    )
    for line in child.stdout:
        if line.strip() == step:
            break
    time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not (path / "CURRENT").exists()
    said = []
    Space.build(TableFiles(**files, stream=True), path=path, recipe=RECIPE, say=said.append).close()
    assert ("reading the items: done already, kept" in said) == (step != "reading the items")
    with Space.open(path) as space, Space.open(pair[0]) as whole:
        assert answers(space) == answers(whole)
    assert not list((path / "stages").iterdir())
