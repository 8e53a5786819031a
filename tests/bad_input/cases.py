"""Malformed input of every kind: what is wrong with it, how to provoke it, and what its message must say.

`prepare` writes what the input consists of; `provoke` gives it to itemspace. Whatever `provoke` leaves on disk beyond that is
something a refused input has written, which no case may.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from itemspace.cli.app import app
from itemspace.core.dataset import Dataset
from itemspace.core.errors import ItemspaceError
from itemspace.core.files import FileLock
from itemspace.data.tables import read_tables
from itemspace.recipe import Recipe
from itemspace.space import Space
from tests.bad_input.asking import CHANGES, FILTERS, REQUESTS
from tests.bad_input.case import Case, Step
from tests.data.malformed import MALFORMED


def _data() -> list[Case]:
    return [
        Case(
            "data files",
            case.name,
            lambda folder, _, case=case: case.provoke(folder),  # type: ignore[misc]
            (case.expected,),
            lambda folder, _, case=case: _tried(case.provoke, folder),  # type: ignore[misc]
            quotes="Parquet file" in case.expected or "(" in case.expected,
        )
        for case in MALFORMED
    ]


def _tried(provoke: Callable[[Path], object], folder: Path) -> None:
    """Have the case write its input files, so that its second run shows what reading them leaves behind."""
    with contextlib.suppress(ItemspaceError):
        provoke(folder)


def _toml(wrong: str, text: str, *words: str, quotes: bool = False) -> Case:
    def prepare(folder: Path, _: Space) -> None:
        (folder / "shop.toml").write_text(text)

    return Case(
        "recipes", wrong, lambda folder, _: Recipe.load(folder / "shop.toml"), ("shop.toml", *words), prepare, quotes
    )


def _build(wrong: str, recipe: Any, *words: str) -> Case:
    return Case("recipes", wrong, lambda folder, _: Space.build(_tents(folder), path=folder / "new.space", recipe=recipe), words, _items)  # fmt: skip


def _items(folder: Path, _: Space) -> None:
    (folder / "items.csv").write_text("id,title\na,A warm red tent\nb,Waterproof walking boots\n")


def _tents(folder: Path) -> Dataset:
    return read_tables(folder / "items.csv")


RECIPES = [
    _toml("a value left out", "seed =", "not valid TOML", quotes=True),
    _toml("an unknown key", "sed = 1", "`sed`", "`seed`"),
    _toml("an unknown key in a section", "[fusion]\ndept = 3", "`fusion.dept`", "`depth`"),
    _toml("an unknown option of a part", "[encoder]\ndimenson = 64", "[encoder] lsa", "`dimenson`", "`dimension`"),
    _toml("a text where a number belongs", '[encoder]\ndimension = "large"', "`dimension`", "whole number", "'large'"),
    _toml("a number out of range", "[encoder]\ndimension = 0", "`dimension`", "at least 2", "got 0"),
    _toml("a seed below 0", "seed = -1", "`seed`", "at least 0", "-1"),
    _toml("a text where a list belongs", 'text = "title"', "`text`", "a list", "'title'"),
    _toml("an empty list of columns", "text = []", "`text`", "empty"),
    _toml("a column that weighs nothing", "[fields]\ntitle = 0", "`title`", "above 0"),
    _toml("a column of infinite weight", "[fields]\ntitle = inf", "`title`", "above 0", "inf"),
    _toml("weights that cancel everything", "[fusion]\nweights = [0, 0]", "`fusion.weights`", "above 0"),
    _toml("a method that does not exist", '[fusion]\nmethod = "rfr"', "`fusion.method`", "'rrf'", "'rfr'"),
    _toml("a misspelt part", '[encoder]\nname = "lsaa"', "[encoder]", "`lsaa`", "`lsa`"),
    _toml("a part of another kind", '[index]\nname = "bm25"', "[index]", "`bm25`", "one vector per item"),
    _toml("an import path to something else", '[encoder]\nname = "os:getcwd"', "`os:getcwd`", "not an encoder"),
    _toml("an import path to nothing", '[encoder]\nname = "no.such:Thing"', '"no.such:Thing"', "cannot load"),
    _toml("a number for a part", "encoder = 3", "`encoder`", "name of a part", "got 3"),
    _toml("options without a part", "[recommender]\nneighbors = 9", "[recommender]", "no name"),
    _toml("everything off", "encoder = false\nlexical = false\nrecommender = false", "all off"),
    _toml("an index without vectors", 'encoder = false\nindex = "hnsw"', "`index` is hnsw", "leave `index` out"),
    _toml("a store turned off", "store = false", "`store`", "cannot be off"),
    _toml("a weight for a column left out", 'text = ["title"]\n[fields]\nbrand = 2', "`brand`", "`text`"),
    Case(
        "recipes",
        "a file that is not there",
        lambda d, _: Recipe.load(d / "no.toml"),
        ("no.toml", "no such file", "path"),
    ),
    Case("recipes", "a folder for a file", lambda d, _: Recipe.load(d), ("cannot be read as a TOML file", "directory")),
    Case("recipes", "a number for a recipe", lambda d, _: Recipe.load(3), ("TOML file or a mapping", "got 3")),  # type: ignore[arg-type]
    Case("recipes", "an override without a value", lambda d, _: Recipe().override(["seed"]), ('"seed"', "key=value")),
    _build("a column that the items lack", {"text": ["titel"]}, "`titel`", "`title`"),
    _build("a system that does not exist", {"system": "tigr"}, "`tigr`", "`tiger`"),
    _build(
        "nothing to search and no events",
        {"lexical": False, "encoder": False},
        "nothing would be built",
        "interactions",
    ),
]


def _copied(folder: Path, space: Space) -> Path:
    return Path(shutil.copytree(space.path, folder / "shop.space"))


def _damage(harm: Callable[[Path], object]) -> Step:
    def prepare(folder: Path, space: Space) -> None:
        harm(_copied(folder, space))

    return prepare


def _opened(folder: Path, _: Space) -> object:
    with Space.open(folder / "shop.space"):
        return None


def _generation(space: Path) -> Path:
    return space / "generations" / json.loads((space / "CURRENT").read_text())["generation"]


def _newer(space: Path) -> None:
    manifest = _generation(space) / "manifest.json"
    told = json.loads(manifest.read_text()) | {"format": 99, "itemspace": "9.9"}
    manifest.write_text(json.dumps(told))


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _overwrite(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def _store(space: Path) -> Path:
    return next(p for p in (space / "stores").iterdir() if p.is_dir())


def _broken(wrong: str, harm: Callable[[Path], object], *words: str, quotes: bool = False) -> Case:
    return Case("artifacts", wrong, _opened, words, _damage(harm), quotes)


def _while_written(folder: Path, _: Space) -> object:
    with Space.open(folder / "shop.space") as one, Space.open(folder / "shop.space") as other, one._store.writing():
        return other.remove([other.catalog.ids[0]])


def _while_built(folder: Path, _: Space) -> object:
    held = FileLock(folder / "shop.space" / "BUILDING", what="")
    held.acquire()
    try:
        return Space.build(_tents(folder), path=folder / "shop.space", replace=True)
    finally:
        held.release()


def _copy_and_items(folder: Path, space: Space) -> None:
    _copied(folder, space)
    _items(folder, space)
    (folder / "shop.space" / "BUILDING").touch()


def _write(name: str, text: str) -> Step:
    def prepare(folder: Path, space: Space) -> None:
        _items(folder, space)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)

    return prepare


ARTIFACTS = [
    Case(
        "artifacts",
        "a Space that is not there",
        lambda d, _: Space.open(d / "no.space"),
        ("no.space", "does not exist"),
    ),
    Case(
        "artifacts", "a file for a Space", lambda d, _: Space.open(d / "items.csv"), ("items.csv", "is a file"), _items
    ),
    Case(
        "artifacts", "a folder that is no Space", lambda d, _: Space.open(d), ("not an itemspace artifact", "CURRENT")
    ),
    Case("artifacts", "a number for a path", lambda d, _: Space.open(7), ("a path is text", "7")),  # type: ignore[arg-type]
    Case("artifacts", "a NUL character in a path", lambda d, _: Space.open("a\x00b"), ("\\x00", "cannot be a path")),
    Case(
        "artifacts", "a path of 5,000 characters", lambda d, _: Space.open("a" * 5000), ("cannot be a path", "too long")
    ),
    _broken(
        "a build that did not finish",
        lambda s: (s / "CURRENT").unlink(),
        "did not finish",
        "again",
    ),
    _broken(
        "a CURRENT file of nonsense",
        lambda s: (s / "CURRENT").write_text("???"),
        "CURRENT",
        "damaged",
        "copy",
        quotes=True,
    ),
    _broken("a generation that is gone", lambda s: shutil.rmtree(_generation(s)), "manifest.json", "missing", "copy"),
    _broken(
        "a manifest that was edited", lambda s: _append(_generation(s) / "manifest.json"), "manifest.json", "checksum"
    ),
    _broken(
        "a file cut short",
        lambda s: _shorten(_generation(s) / "histories" / "offsets.npy"),
        "offsets.npy",
        "bytes",
        "copy",
    ),
    _broken(
        "a file that is gone", lambda s: (_generation(s) / "histories" / "items.npy").unlink(), "items.npy", "missing"
    ),
    _broken(
        "a file overwritten in place",
        lambda s: _overwrite(_generation(s) / "histories" / "items.npy"),
        "cannot be read",
        "copy",
        quotes=True,
    ),
    _broken("a newer format", _newer, "format 99", "itemspace 9.9", "itemspace>=9.9"),
    _broken("a store that is gone", lambda s: shutil.rmtree(_store(s)), "stores", "copy"),
    _broken("a store without its description", lambda s: (_store(s) / "store.json").unlink(), "no store.json", "copy"),
    _broken(
        "a store without its items", lambda s: shutil.rmtree(_store(s) / "tables" / "items.lance"), "items", "copy"
    ),
    Case(
        "artifacts",
        "a change while another process writes",
        _while_written,
        ("being written by process", "Wait"),
        lambda d, s: _copied(d, s),
    ),
    Case(
        "artifacts",
        "a build while another process builds",
        _while_built,
        ("being written by process", "Wait"),
        _copy_and_items,
    ),
    Case(
        "artifacts",
        "a build over a Space",
        lambda d, _: Space.build(_tents(d), path=d / "shop.space"),
        ("shop.space", "a Space already", "--replace"),
        _copy_and_items,
    ),
    Case(
        "artifacts",
        "a build into a folder of other files",
        lambda d, _: Space.build(_tents(d), path=d / "notes"),
        ("notes", "not empty", "diary.txt"),
        _write("notes/diary.txt", "Monday"),
    ),
    Case(
        "artifacts",
        "a build inside a file",
        lambda d, _: Space.build(_tents(d), path=d / "items.csv" / "new.space"),
        ("items.csv/new.space", "cannot be made", "another path"),
        _items,
    ),
    Case(
        "artifacts",
        "a build from a number",
        lambda d, _: Space.build(42, path=d / "new.space"),
        ("from a Dataset", "read_tables"),
    ),  # type: ignore[arg-type]
]


def _append(path: Path) -> None:
    path.write_text(path.read_text() + " ")


def _command(wrong: str, line: str, *words: str, file: tuple[str, str] | None = None) -> Case:
    """A command line; `SPACE` stands for the shop, `DIR` for the folder with items.csv and `file`."""

    def provoke(folder: Path, space: Space) -> object:
        places = {"SPACE": str(space.path), "DIR": str(folder)}
        given = [word.replace("SPACE", places["SPACE"]).replace("DIR", places["DIR"]) for word in line.split()]
        return app(given, standalone_mode=False)

    name, text = file or ("items.csv", "id,title\na,Tent\n")
    return Case("command line", f"{wrong}: {line.replace('DIR/', '')}", provoke, words, _write(name, text))


COMMANDS = [
    _command("k of nothing", "search SPACE boots -k 0", "at least 1", "got 0"),
    _command("k that is a word", "search SPACE boots -k ten", "integer"),
    _command("an option that does not exist", "search SPACE boots --wher price<80", "--wher"),
    _command("a verb that does not exist", "serch SPACE boots", "serch", "search"),
    _command("a query left out", "search SPACE", "query"),
    _command("a column to show that does not exist", "search SPACE boots --columns titel", "`titel`", "`title`"),
    _command("nobody to recommend to", "recommend SPACE", "recommend to whom"),
    _command("a history with an unknown item", 'recommend SPACE --history "a,b",c', 'unknown item "a,b"'),
    _command("a file of users that is not there", "recommend SPACE --users DIR/no.txt", "no.txt", "one ID a line"),
    _command("a file of no users", "recommend SPACE --users DIR/users.txt", "users.txt", "no user", file=("users.txt", "\n\n")),
    _command("a user and a file of users", "recommend SPACE --user u1 --users DIR/users.txt", "--users", "--user", file=("users.txt", "u1\n")),
    _command("items from a file that is not there", "add SPACE DIR/no.csv", "no.csv", "no such file"),
    _command("items from an empty file", "add SPACE DIR/new.csv", "new.csv", "empty", file=("new.csv", "")),
    _command("items from no table", "add SPACE DIR/new.xlsx", "new.xlsx", ".parquet", file=("new.xlsx", "PK")),
    _command("one column twice", "add SPACE DIR/new.csv", "new.csv", '"price"', "Rename", file=("new.csv", "item_id,price,price\nx,1,2\n")),
    _command("a word among prices", "update SPACE DIR/new.csv", "new.csv, row 2", '"cheap"', "--rejects", file=("new.csv", "item_id,price\nx,1\ny,cheap\n")),
    _command("events of an unknown item", "log SPACE DIR/log.csv", "row 1", '"P9999"', file=("log.csv", "user,item\nu1,P9999\n")),
    _command("an unknown item", "remove SPACE P9999", '"P9999"'),
    _command("items that are not there", "build DIR/no.csv -o DIR/new.space", "no.csv", "no such file"),
    _command("an empty log", "build DIR/items.csv --interactions DIR/log.csv -o DIR/new.space", "log.csv", "no event", file=("log.csv", "user,item\n")),
    _command("items that are only IDs", "build DIR/ids.csv -o DIR/new.space", "nothing would be built", "interactions", file=("ids.csv", "id\na\nb\n")),
    _command("a setting without a value", "build DIR/items.csv -o DIR/new.space --set seed", '"seed"', "key=value"),
    _command("a setting that does not exist", "build DIR/items.csv -o DIR/new.space --set encodr.name=lsa", "`encodr`", "`encoder`"),
    _command("a kind without a column", "build DIR/items.csv -o DIR/new.space --kind text", '"text"', "COLUMN=KIND"),
    _command("a kind that does not exist", "build DIR/items.csv -o DIR/new.space --kind title=txt", "`txt`", "`text`"),
    _command("a folder together with a file", "build DIR -o DIR/new.space --interactions DIR/items.csv", "read whole", "one by one"),
    _command("a demo of no items", "demo --items 0 --folder DIR/demo", "--items", "at least 100", "got 0"),
    _command("a bench that does not exist", "bench cooking --data DIR", "`cooking`", "recommend"),
    _command("no seed at all", "bench recommend --data DIR --seeds 0", "--seeds", "at least 1"),
    _command("data in no known format", "data describe DIR/empty", "no known format", "items.parquet", file=("empty/notes.md", "x")),
]  # fmt: skip

CASES: list[Case] = [*_data(), *FILTERS, *REQUESTS, *CHANGES, *RECIPES, *ARTIFACTS, *COMMANDS]
"""Every case, by area."""
