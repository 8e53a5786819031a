"""An index chosen for a Space: written to its recipe, built on request, everything else as it was."""

import json

import pytest
from typer.testing import CliRunner

from itemspace.cli.app import app
from itemspace.cli.index import size_of
from itemspace.core.errors import ArtifactError, RequestError
from itemspace.data.worlds.shop import demo_shop
from itemspace.space import Space

RECIPE = {"encoder": {"name": "lsa", "dimension": 16}}


@pytest.fixture
def path(tmp_path):
    Space.build(demo_shop(400, 80, rng=3), path=tmp_path / "shop.space", recipe=RECIPE).close()
    return tmp_path / "shop.space"


def test_a_choice_is_written_and_only_the_index_is_built(path):
    with Space.open(path) as space:
        space.add([{"item_id": "LATE", "title": "a late waterproof boot", "price": 5.0, "in_stock": True}])
        gone = space.search("boots", k=1).items()[0]
        space.remove([gone])
        expected = space.search("late waterproof boot", k=5, by="dense").items()
        before = space.generation
        told = space.tune_index(recall=0.9, types=["ivf"], write=False)
        assert told.tuned.choice is not None
        assert space.generation == before
        made = space.tune_index(recall=0.9, types=["ivf"])
        assert (made.applied, made.reached) == (False, None)
        assert space.recipe.index.name == "ivf"
        assert type(space._live.dense).__name__ == "FlatIndex", "what answers is as it was"
        done = space.tune_index(recall=0.9, types=["hnsw"], apply=True)
        assert done.reached >= 0.9
        assert space.recipe.index.name == "hnsw"
        assert type(space._live.dense).__name__ == "HNSWIndex"
        for where in (space, Space.open(path)):
            assert where.search("late waterproof boot", k=5, by="dense").items() == expected
            assert gone not in where.search("boots", k=50).items()
            assert where.generation == done.generation
    kept = json.loads((path / "generations" / done.generation / "index-tuning.json").read_text())
    assert kept["choice"]["index"] == "hnsw"
    assert kept["reached"] == done.reached


def test_nothing_is_written_where_nothing_suffices(path):
    with Space.open(path) as space:
        before = space.generation
        made = space.tune_index(recall=0.9, memory=10.0, types=["flat"])
        assert made.tuned.choice is None
        assert space.generation == before
        with pytest.raises(RequestError, match="no index of dense vectors"):
            space.tune_index(types=["bm25"])


def test_a_space_that_was_built_anew_meanwhile_is_not_overwritten(path):
    with Space.open(path) as space:
        Space.build(demo_shop(300, 50, rng=4), path=path, recipe=RECIPE, replace=True).close()
        with pytest.raises(ArtifactError, match="built anew"):
            space.tune_index(recall=0.5, types=["flat"])


def test_the_command_says_why_and_ends_with_1_where_nothing_suffices(path):
    run = CliRunner().invoke(app, ["index", "tune", str(path), "--recall", "0.9", "--memory", "2GB", "--type", "flat"])
    assert run.exit_code == 0, run.output
    assert "chosen" in run.output
    assert "reaches recall@10 of 0.9 within 2 GB" in run.output
    run = CliRunner().invoke(
        app, ["index", "tune", str(path), "--memory", "1kB", "--type", "flat", "--dry-run", "--json"]
    )
    assert run.exit_code == 1
    assert '"choice": null' in run.output


def test_sizes_are_read_as_people_write_them():
    assert [size_of(text) for text in ("2GB", "512 MiB", "1.5gb", "1e9", "10kB")] == [2e9, 2**29, 1.5e9, 1e9, 1e4]
    assert size_of(None) == float("inf")
    for wrong in ("much", "-2GB", "0", "2 boxes"):
        with pytest.raises(RequestError, match="--memory is a size"):
            size_of(wrong)


def test_the_bench_takes_a_space(path):
    run = CliRunner().invoke(
        app, ["bench", "indexes", "--data", str(path), "--arms", "flat int8_copy=never,usearch-f32"]
    )
    assert run.exit_code == 0, run.output
    assert "recall@10" in run.output
