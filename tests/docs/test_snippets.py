"""Every snippet of the README and the guides runs, page by page, in order, over the files a reader would have."""

import re
import shlex
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from itemspace.cli.app import app
from itemspace.core.errors import ItemspaceError
from itemspace.data.worlds.shop import shop_world, write_shop

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```(python|sh|toml)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("files"), shop_world(500, 300, rng=1), images=False)


@pytest.fixture
def reader_folder(files, tmp_path, monkeypatch):
    """The reader's folder: their items, their log, and the IDs that the pages speak of."""
    for name in ("queries", "judgments"):
        shutil.copy(files / f"{name}.parquet", tmp_path)
    table = pq.read_table(files / "items.parquet")
    old = sorted(table.column("item_id").to_pylist())
    renamed = dict(zip(old, [f"P{i:04d}" for i in range(len(old))], strict=True))
    for name, column in (("items", "item_id"), ("interactions", "item"), ("judgments", "item")):
        part = pq.read_table(files / f"{name}.parquet")
        at = next(i for i, c in enumerate(part.column_names) if c in (column, "item_id", "item"))
        ids = [renamed[value] for value in part.column(at).to_pylist()]
        part = part.set_column(at, part.column_names[at], [ids])
        if name == "interactions":
            user = next(i for i, c in enumerate(part.column_names) if c in ("user", "user_id"))
            known = part.column(user).to_pylist()
            part = part.set_column(user, part.column_names[user], [["u17" if u == known[0] else u for u in known]])
        pq.write_table(part, tmp_path / ("log.parquet" if name == "interactions" else f"{name}.parquet"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_command(line):
    words = shlex.split(line, comments=True)
    if words[0] != "itemspace":
        assert words[0] in ("make", "pip"), f"a command the tests do not know: {line}"
        return
    try:
        app(words[1:], standalone_mode=False)
    except ItemspaceError as error:
        pytest.fail(f"{line}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_snippets_run(page, reader_folder):
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks, f"{page.name} has no snippet"
    names = {"__name__": page.stem}
    for language, code in blocks:
        if language == "python":
            exec(compile(code, f"{page.name}", "exec"), names)
        elif language == "sh":
            for line in code.splitlines():
                if line.strip():
                    run_command(line)
        elif "[[rules]]" in code:
            from itemspace.search import Rules

            (reader_folder / "rules.toml").write_text(code)
            Rules.read(reader_folder / "rules.toml")
        else:
            from itemspace.recipe import Recipe

            (reader_folder / "recipe.toml").write_text(code)
            Recipe.load(reader_folder / "recipe.toml")


def test_links_lead_somewhere():
    for page in [*PAGES, *(p for p in (ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md") if p.exists())]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"
