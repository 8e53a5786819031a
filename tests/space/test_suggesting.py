"""Suggestions of a Space: as built, as it changes, and where it was built without them."""

import json
import shutil

import numpy as np
import pytest

from itemspace.core.errors import FilterError, RequestError
from itemspace.space import Space, suggesting


def titles(space, typed, **options):
    return [one.text for one in space.suggest(typed, **options) if one.kind == "title"]


def item(name, **columns):
    return {"item_id": name, "title": f"Zyxware {name} kettle"} | columns


def test_titles_and_queries_are_suggested(space):
    queries = space.dataset().queries.texts
    asked = space.suggest(queries[0][:-1], k=50)
    assert any(one.kind == "query" and one.text.lower() == queries[0].lower() and one.item is None for one in asked)
    title = space.catalog.table["title"][5].as_py()
    found = space.suggest(title, k=20)
    assert title in [one.text for one in found]
    assert {space.catalog.item(one.item)["title"] for one in found if one.kind == "title"} == set(
        titles(space, title, k=20)
    )


def test_what_is_added_renamed_or_removed_shows_at_once(space):
    assert titles(space, "zyxware") == []
    space.add([item("A1"), item("A2")])
    assert set(titles(space, "zyxw")) == {"Zyxware A1 kettle", "Zyxware A2 kettle"}
    space.update([{"item_id": "A1", "title": "Zyxware A1 teapot"}])
    assert set(titles(space, "zyxw")) == {"Zyxware A1 teapot", "Zyxware A2 kettle"}
    old = space.catalog.ids[0]
    before = space.catalog.item(old)["title"]
    space.update([{"item_id": old, "title": "Zyxware old lamp"}])
    assert "Zyxware old lamp" in titles(space, "lamp zyx")
    assert old not in [one.item for one in space.suggest(before, k=50)]
    space.remove(["A2", old])
    assert titles(space, "zyxw") == ["Zyxware A1 teapot"]
    space.add([item("A2")])
    assert set(titles(space, "zyxw")) == {"Zyxware A1 teapot", "Zyxware A2 kettle"}


def test_many_small_changes_leave_few_pieces_and_reopening_finds_them_all(space):
    for at in range(40):
        space.add([item(f"N{at:02d}")])
    assert len(space._live.suggesting.pieces) <= 8
    expected = {f"Zyxware N{at:02d} kettle" for at in range(40)}
    assert set(titles(space, "zyx", k=100)) == expected
    with Space.open(space.path) as again:
        assert set(titles(again, "zyx", k=100)) == expected


def test_a_filter_leaves_titles_it_allows_and_no_queries(space):
    found = space.suggest("", k=30, where="price < 40")
    assert len(found) == 30
    assert all(one.kind == "title" and space.catalog.item(one.item)["price"] < 40 for one in found)


@pytest.mark.parametrize("damage", ["absent", "broken"])
def test_a_space_built_without_them_makes_them_when_asked(built, tmp_path, damage):
    path = tmp_path / "old.space"
    shutil.copytree(built, path)
    folder = next((path / "generations").iterdir())
    with Space.open(path) as whole:
        expected = [(one.text, one.item) for one in whole.suggest("", k=40)]
    if damage == "broken":
        (folder / "suggest" / "postings.npy").write_bytes(b"no")
        with pytest.warns(UserWarning, match="suggestions"):
            opened = Space.open(path)
    else:
        shutil.rmtree(folder / "suggest")
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["parts"].remove("suggest")
        manifest["checksums"] = {n: c for n, c in manifest["checksums"].items() if not n.startswith("suggest/")}
        text = json.dumps(manifest)
        (folder / "manifest.json").write_text(text)
        (path / "CURRENT").write_text(json.dumps({"generation": folder.name}))
        opened = Space.open(path)
    with opened as space:
        assert [(one.text, one.item) for one in space.suggest("", k=40)] == expected
        space.add([item("A1")])
        assert titles(space, "zyx") == ["Zyxware A1 kettle"]


def test_a_query_only_one_request_logged_is_nobody_elses(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    shown = pa.table(
        {"query": ["red tent", "Red Tent", "red tent", "my secret", "my secret", None], "request": [1, 2, 2, 3, 3, 4]}
    )
    pq.write_table(shown, tmp_path / "impressions.parquet")
    texts, counts = suggesting.asked_queries(tmp_path)
    assert dict(zip(texts.to_pylist(), counts.tolist(), strict=True)) == {"red tent": 2}
    pq.write_table(pa.table({"text": ["Red  tent", "kayak", "!"]}), tmp_path / "queries.parquet")
    texts, counts = suggesting.asked_queries(tmp_path)
    assert dict(zip(texts.to_pylist(), counts.tolist(), strict=True)) == {"red tent": 3, "kayak": 1}
    assert np.allclose(suggesting.scaled(np.array([0, 1, 3])), [0, 0.5, 1])


def test_what_cannot_be_completed_is_refused(space):
    for wrong in (lambda: space.suggest(3), lambda: space.suggest("a", k=0)):
        with pytest.raises(RequestError):
            wrong()
    with pytest.raises(FilterError):
        space.suggest("a", where="prise < 3")
    found = space.suggest("\ud800 \x1e\x00 boots" * 100)
    assert found
    assert all("boots" in one.text.lower() for one in found)
