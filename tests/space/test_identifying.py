"""Semantic IDs of a Space: given, kept, rolled back, refitted; and the command line."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from itemspace.cli.app import app
from itemspace.core.errors import RecipeError, RequestError
from itemspace.identify.code_rows import padded
from itemspace.space import Space
from itemspace.space.identifying import identities

SMALL = {"levels": 2, "codebook_size": 16, "engine": "numpy"}


def given(space):
    codes = space.codes()
    return dict(zip(codes.item.tolist(), map(tuple, padded(codes).tolist()), strict=True))


def item(space, name):
    row = space.fields([0])[0]
    return {**row, space.catalog.schema.id: name}


def test_a_space_without_codes_says_so(space):
    assert space.codes() is None
    with pytest.raises(RequestError, match="sid build"):
        space.codes_report()


def test_codes_are_given_kept_and_read_again(space):
    assert space.identify(**SMALL) is None
    before = given(space)
    assert len(before) == space.catalog.count
    assert len(set(before.values())) == len(before)
    hits = space.search("a", k=5)
    with Space.open(space.path) as again:
        assert given(again) == before
        assert np.array_equal(again.search("a", k=5).rows, hits.rows)


def test_items_come_and_go_and_nobody_else_moves(space):
    space.identify(**SMALL)
    before = given(space)
    space.add([item(space, f"new-{i}") for i in range(5)])
    gone = [str(name) for name in space.catalog.ids.decode(np.array([3, 4]))]
    lost = {before[3], before[4]}
    space.remove(gone)
    assert set(given(space)) == set(before) - {3, 4}
    space.identify()
    after = given(space)
    assert len(after) == len(before) + 3
    assert all(after[row] == code for row, code in before.items() if row in after)
    new = {code for row, code in after.items() if row not in before}
    assert not new & (set(before.values()) | lost)
    assert len(new) == 5


def test_a_refit_is_a_new_version_with_a_map(space):
    space.identify(**SMALL)
    before, version = given(space), space.codes().version
    space.add([item(space, f"new-{i}") for i in range(5)])
    migration = space.identify(refit=True)
    after = given(space)
    assert space.codes().version != version
    kept = dict(zip(migration.rows.tolist(), migration.kept.tolist(), strict=True))
    assert set(kept) == set(before)
    assert all((after[row] == before[row]) == same for row, same in kept.items())
    assert migration.kept.mean() > 0.5
    assert len(set(after.values())) == len(after) == len(before) + 5
    assert identities(space.path, space._store).number == 2


def test_another_tokenizer_needs_a_refit(space):
    space.identify(**SMALL)
    with pytest.raises(RequestError, match="refit"):
        space.identify("title")
    with pytest.raises(RequestError, match="refit"):
        space.identify(levels=3)
    migration = space.identify("title", refit=True)
    assert len(migration.rows) == space.catalog.count
    assert space.codes().collisions == 0
    for name in ("category", "random"):
        space.identify(name, refit=True)
        assert len(space.codes()) == space.catalog.count
        assert space.codes().collisions == 0


def test_a_snapshot_brings_its_codes_back(space):
    space.identify(**SMALL)
    before = given(space)
    space.snapshot("good")
    space.identify(refit=True, levels=3, codebook_size=8)
    assert given(space) != before
    space.restore("good")
    assert given(space) == before
    space.add([item(space, "late")])
    space.identify()
    assert len(given(space)) == len(before) + 1


def test_mistakes_are_named(space):
    with pytest.raises(RecipeError, match="codebook_size"):
        space.identify(codebook_sise=8)
    with pytest.raises(RequestError, match="training events"):
        space.identify("spectral")
    with pytest.raises(RecipeError, match="rq-vae"):
        space.identify("rq-vea")
    assert space.codes() is None


def test_the_command_line(space, tmp_path):
    path = str(space.path)
    space.close()
    runner = CliRunner()
    made = runner.invoke(app, ["sid", "build", path, "--set", "levels=2", "--set", "codebook_size=16"])
    assert made.exit_code == 0, made.output
    assert "levels" in made.output
    again = runner.invoke(app, ["sid", "build", path, "--refit"])
    assert "the same as before" in again.output
    shown = runner.invoke(app, ["sid", "report", path, "--html", str(tmp_path / "sid.html")])
    assert shown.exit_code == 0, shown.output
    for name in (
        "collisions",
        "perplexity-1",
        "purity-1",
        "source-agreement-1",
        "behavior-agreement-1",
        "embedding-hit",
    ):
        assert name in shown.output
    assert "<html" in (tmp_path / "sid.html").read_text()
    told = json.loads(runner.invoke(app, ["sid", "report", path, "--json"]).output)
    assert told["measures"]


def test_codes_from_files(tmp_path):
    runner = CliRunner()
    index = {"0": ["<a_1>", "<b_2>"], "1": ["<a_1>", "<b_2>"], "2": ["<a_0>"]}
    (tmp_path / "index.json").write_text(json.dumps(index))
    shown = runner.invoke(app, ["sid", "report", str(tmp_path / "index.json")])
    assert "2 of 3 codes stand for more than one item" in shown.output
    np.save(tmp_path / "codes.npy", np.array([[0, 1], [1, 0]]))
    np.save(tmp_path / "vectors.npy", np.eye(2, dtype=np.float32))
    shown = runner.invoke(
        app, ["sid", "report", str(tmp_path / "codes.npy"), "--vectors", str(tmp_path / "vectors.npy")]
    )
    assert shown.exit_code == 0, shown.output
    for bad in ({"0": ["x"]}, {"0": []}, [1]):
        (tmp_path / "bad.json").write_text(json.dumps(bad))
        assert runner.invoke(app, ["sid", "report", str(tmp_path / "bad.json")]).exit_code != 0


def test_a_recipe_asks_for_codes(shop, tmp_path):
    recipe = {
        "encoder": {"name": "lsa", "dimension": 32},
        "recommender": False,
        "identify": {"levels": 2, "codebook_size": 8},
    }
    with Space.build(shop, path=tmp_path / "a.space", recipe=recipe) as made:
        assert made.codes().level_sizes[:2] == (8, 8)
        assert len(made.codes()) == made.catalog.count
        assert made.recipe.to_toml_dict()["identify"]["name"] == "residual-k-means"
    for wrong, told in (
        ({"levles": 2}, "levels"),
        ("lsa", "no tokenizer"),
        ("itemspace.index.flat:FlatIndex", "not a tokenizer"),
    ):
        with pytest.raises(RecipeError, match=told):
            Space.build(shop, path=tmp_path / "b.space", recipe={"identify": wrong})
