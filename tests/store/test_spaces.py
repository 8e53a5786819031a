"""A Space in each store: built there, copied there, changed, rolled back, killed, read while it is written."""

import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from itemspace.cli.app import app
from itemspace.core.errors import ArtifactError, RecipeError
from itemspace.core.plugins import find
from itemspace.core.requests import Requests
from itemspace.data.worlds.shop import demo_shop
from itemspace.recipe import Part, Recipe
from itemspace.space import Space
from itemspace.space.copying import copy_space

RECIPE = {"encoder": {"name": "lsa", "dimension": 16}, "recommender": "item-knn"}
ASKED = ["waterproof boots", "red tent", "wool socks"]


@pytest.fixture(scope="module")
def shop():
    return demo_shop(200, 100, rng=3)


@pytest.fixture(params=["postgres", "milvus"])
def kind(request, monkeypatch):
    pytest.importorskip("psycopg" if request.param == "postgres" else "pymilvus")
    if request.param == "postgres":
        monkeypatch.setenv("ITEMSPACE_POSTGRES", request.getfixturevalue("postgres"))
    return request.param


@pytest.fixture(scope="module")
def original(shop, tmp_path_factory):
    """A Space in the embedded store, changed in every way since it was built."""
    path = tmp_path_factory.mktemp("original") / "shop.space"
    with Space.build(shop, path=path, recipe=RECIPE) as space:
        name, ids = space.catalog.schema.id, space.catalog.ids
        space.add([{name: "new", "title": "a new waterproof tent", "price": 12.5}])
        space.update([{name: ids[3], "price": 1.25}])
        space.remove([ids[5], ids[6]])
        space.add([{name: ids[6], "title": "back again", "price": 3.0}])
        space.log([{"user": "somebody new", "item": "new", "time": 1_700_000_000}])
    return path


def answers(space):
    found = [
        space.search(ASKED, k=10),
        space.search(ASKED, k=10, where="price < 40"),
        space.search(ASKED, k=5, by="dense"),
    ]
    found += [space.recommend(user=["somebody new", space.users[0]], k=5)]
    return [(hits.rows.tolist(), hits.scores.tolist()) for hits in found]


def test_a_copy_answers_as_the_original_and_goes_on_alone(kind, original, tmp_path):
    said = []
    copied = copy_space(original, tmp_path / "copy", Part(name=kind), say=said.append)
    assert copied.items == 201
    assert copied.asked["searches"] == 200
    assert copied.asked["recommendations"] > 50
    with Space.open(original) as one, Space.open(tmp_path / "copy") as two:
        assert answers(one) == answers(two)
        assert two.recipe.store.name == kind
        name = two.catalog.schema.id
        two.update([{name: "new", "price": 99.0}])
        two.add([{name: "newer", "title": "waterproof boots of the copy", "price": 5.0}])
        assert "newer" in two.search("waterproof boots of the copy", k=1).items()
        assert answers(one) != answers(two)
    with Space.open(tmp_path / "copy") as again:
        assert "newer" in again.search("waterproof boots of the copy", k=1).items()
    with pytest.raises(ArtifactError, match="is a Space already"):
        copy_space(original, tmp_path / "copy", Part(name=kind))


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_copied_there_and_back_nothing_has_changed(kind, original, tmp_path):
    copy_space(original, tmp_path / "there", Part(name=kind))
    copy_space(tmp_path / "there", tmp_path / "back", Part(name="lancedb"))
    with Space.open(original) as one, Space.open(tmp_path / "back") as two:
        assert answers(one) == answers(two)


@pytest.mark.parametrize("kind", ["milvus"], indirect=True)
def test_a_copy_of_what_was_rolled_back_is_as_it_is_now(kind, shop, tmp_path):
    with Space.build(shop, path=tmp_path / "s", recipe=RECIPE) as space:
        space.log([{"user": "kept", "item": space.catalog.ids[0], "time": 1_700_000_000}])
        space.snapshot("good")
        space.log([{"user": "bad", "item": space.catalog.ids[1], "time": 1_700_000_000}])
        space.restore("good")
        expected, users = answers_of_users(space), len(space.users)
    copy_space(tmp_path / "s", tmp_path / "copy", Part(name=kind))
    with Space.open(tmp_path / "copy") as copy:
        assert answers_of_users(copy) == expected
        assert len(copy.users) == users


def answers_of_users(space):
    hits = space.recommend(user=["kept", "bad"], k=5)
    return hits.rows.tolist(), space.search(ASKED, k=5).rows.tolist()


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_a_copy_that_does_not_answer_the_same_is_not_put_there(kind, original, tmp_path, monkeypatch):
    scan = find("stores", kind).scan_items

    def in_another_order(self, *arguments):
        return ((rows, live, table.take(np.argsort(-rows))) for rows, live, table in scan(self, *arguments))

    monkeypatch.setattr(find("stores", kind), "scan_items", in_another_order)
    with pytest.raises(ArtifactError, match="has other items"):
        copy_space(original, tmp_path / "copy", Part(name=kind))
    with pytest.raises(ArtifactError):
        Space.open(tmp_path / "copy")


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_a_killed_copy_is_no_space_and_is_made_by_the_same_command(kind, original, tmp_path):
    code = (
        "from itemspace.recipe import Part\nfrom itemspace.space.copying import copy_space\n"
        "import itemspace.space.copying as copying, os, signal\n"
        f"def say(line):\n    if line.startswith(%r): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"copy_space({str(original)!r}, {str(tmp_path / 'copy')!r}, Part(name={kind!r}), say=say)"
    )
    for at in ("  vectors `text`", "comparing answers"):
        assert subprocess.run([sys.executable, "-c", code % at], check=False).returncode == -signal.SIGKILL
        with pytest.raises(ArtifactError):
            Space.open(tmp_path / "copy")
    said = []
    copy_space(original, tmp_path / "copy", Part(name=kind), say=said.append)
    assert any(line.endswith("done already, kept") for line in said)  # the record had been copied whole
    with Space.open(original) as one, Space.open(tmp_path / "copy") as two:
        assert answers(one) == answers(two)


def test_a_space_built_in_a_database_that_also_searches(kind, shop, tmp_path):
    with Space.build(shop, path=tmp_path / "own", recipe=RECIPE) as own:
        exact = [own.search(ASKED, k=10, by="dense", where=where) for where in (None, "price < 40")]
    recipe = RECIPE | {"store": {"name": kind, "search": True}}
    with Space.build(shop, path=tmp_path / "s", recipe=recipe) as space:
        for where, wanted in zip((None, "price < 40"), exact, strict=True):
            found = space.search(ASKED, k=10, by="dense", where=where)
            np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)
            assert (found.rows == wanted.rows).mean() > 0.9
        assert "in the database" in str(
            space.retriever("dense").search(Requests.texts(ASKED), 5, "price < 40").explanation
        )
        name = space.catalog.schema.id
        space.add([{name: "n1", "title": "waterproof boots", "price": 1.0}])
        assert "n1" in space.search("waterproof boots", k=5, by="dense").items()
        space.remove(["n1"])
        assert "n1" not in space.search("waterproof boots", k=50, by="dense").items()


def test_a_rebuilt_space_leaves_nothing_behind(postgres, monkeypatch, shop, tmp_path):
    import psycopg

    monkeypatch.setenv("ITEMSPACE_POSTGRES", postgres)
    recipe = RECIPE | {"store": "postgres"}
    for _ in range(4):
        Space.build(shop, path=tmp_path / "s", recipe=recipe, replace=True).close()
    named = {json.loads(file.read_text())["namespace"] for file in (tmp_path / "s" / "stores").glob("*/store.json")}
    with psycopg.connect(postgres) as connection:
        there = {n for (n,) in connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'itemspace_%'")}
    assert len(named) == 2
    assert named <= there


def test_no_password_is_kept(tmp_path):
    with pytest.raises(RecipeError, match="put it in an environment variable"):
        Recipe.load({"store": {"name": "postgres", "url": "postgresql://me:hunter2@host/shop"}})
    with pytest.raises(RecipeError, match="put it in an environment variable"):
        Recipe.load({"store": {"name": "postgres", "url": "host=x password=hunter2"}})
    with pytest.raises(RecipeError, match="name a variable"):
        Recipe.load({"store": {"name": "milvus", "url": "http://localhost:19530", "token": "root:Milvus"}})


def test_a_store_that_does_not_search_is_not_asked_to():
    with pytest.raises(RecipeError, match="does not search by itself"):
        Recipe.load({"store": {"search": True}})


def test_an_unset_variable_is_named(tmp_path, monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(ArtifactError, match="NOT_THERE names, and it is not set"):
        Space.build(
            demo_shop(200, 100, rng=3),
            path=tmp_path / "s",
            recipe=RECIPE | {"store": {"name": "postgres", "url": "env:NOT_THERE"}},
        )


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_the_command_line(original, kind, tmp_path):
    run = CliRunner()
    space = str(tmp_path / "copy")
    told = run.invoke(app, ["store", "copy", str(original), space, "--to", kind])
    assert told.exit_code == 0, told.output
    assert "the same answers with the same scores to 200 searches" in " ".join(told.output.split())
    told = run.invoke(app, ["store", "snapshot", space, "monday"])
    assert "--to monday" in told.output
    with Space.open(space) as opened:
        name, good = opened.catalog.schema.id, opened.version
        opened.update([{name: "new", "price": -1.0}])
        opened.add([{name: "bad", "title": "bad import", "price": 1.0}])
    told = run.invoke(app, ["store", "versions", space])
    assert 'snapshot "monday"' in told.output
    assert f"{good + 2:>8}" in told.output.splitlines()[0]
    for to in ("monday", str(good)):
        told = run.invoke(app, ["store", "rollback", space, "--to", to])
        assert told.exit_code == 0, told.output
        assert "To undo this" in told.output
        with Space.open(space) as opened:
            assert opened.catalog.table.column("price")[int(opened.catalog.ids.rows(["new"])[0])].as_py() == 12.5
            assert "bad" not in opened.search("bad import", k=10).items()
    assert "is gone" in run.invoke(app, ["store", "snapshot", space, "monday", "--drop"]).output
    assert "monday" not in run.invoke(app, ["store", "versions", space, "--json"]).output


def test_readers_read_while_a_writer_writes(kind, original, tmp_path):
    """A reader sees whole writes only: the two prices of one write are always equal."""
    copy_space(original, tmp_path / "s", Part(name=kind))
    code = (
        "import sys\nfrom itemspace.space import Space\n"
        f"with Space.open({str(tmp_path / 's')!r}) as space:\n"
        "    name, ids = space.catalog.schema.id, space.catalog.ids\n"
        "    print('ready', flush=True)\n"
        "    for turn in range(25):\n"
        "        space.update([{name: ids[row], 'price': float(turn)} for row in (0, 7, 90)])\n"
    )
    with Space.open(tmp_path / "s") as reader:
        seen: list[set[float]] = []
        problems: list[Exception] = []
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout.readline() == "ready\n"

            def follow():
                try:
                    while writer.poll() is None or not seen:
                        reader.refresh()
                        prices = reader.catalog.table.column("price")
                        seen.append({prices[row].as_py() for row in (0, 7, 90)})
                        assert len(reader.search("boots", k=5).items()) == 5
                        time.sleep(0.005)
                except Exception as error:
                    problems.append(error)

            threads = [threading.Thread(target=follow) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert not problems
        changed = [prices for prices in seen if prices <= {float(n) for n in range(25)}]
        assert changed
        assert all(len(prices) == 1 for prices in changed)
        reader.refresh()
        assert {reader.catalog.table.column("price")[row].as_py() for row in (0, 7, 90)} == {24.0}
