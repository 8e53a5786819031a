"""`itemspace jobs` from the command line."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from itemspace.cli.app import app
from itemspace.core.errors import ArtifactError, RequestError
from itemspace.jobs import JobError, read_codes, read_vectors
from itemspace.space import Space
from tests.jobs import works


def run(*words):
    app([str(word) for word in words], standalone_mode=False)


def asked(capsys, *words):
    run(*words, "--json")
    return json.loads(capsys.readouterr().out)


def test_from_items_to_vectors_to_codes(files, tmp_path, capsys):
    items = files / "items.parquet"
    run("jobs", "run", "encode", items, "-o", tmp_path / "vectors", "--set", "encoder.dimension=8", "--chunk", 100)
    told = capsys.readouterr().err
    assert "300 rows, 4 chunks" in told
    assert read_vectors(tmp_path / "vectors")[1].values.shape == (300, 8)
    run("jobs", "run", "tokenize", tmp_path / "vectors", "-o", tmp_path / "codes", "--set", "branches=3")
    assert read_codes(tmp_path / "codes")[1].level_sizes[0] == 3
    found = asked(capsys, "jobs", "status", tmp_path / "vectors.job")
    assert found["state"] == "done"
    assert [(phase["phase"], phase["done"]) for phase in found["phases"]] == [("fit", 1), ("encode", 3)]
    run("jobs", "status", tmp_path / "codes.job")
    assert "done" in capsys.readouterr().out


def test_a_space_built_and_asked_by_jobs(files, tmp_path, capsys):
    path = tmp_path / "shop.space"
    run(
        "jobs", "run", "build", files / "items.parquet", "--interactions", files / "interactions.parquet",
        "-o", path, "--set", "encoder.dimension=8", "--set", "recommender=item-knn",
    )  # fmt: skip
    run("jobs", "run", "recommend", path, "-o", tmp_path / "all.parquet", "-k", 3)
    (tmp_path / "queries.txt").write_text("boots\nblue mat\n")
    run("jobs", "run", "search", path, "-o", tmp_path / "found.parquet", "--queries", tmp_path / "queries.txt")
    run("jobs", "run", "similar", path, "-o", tmp_path / "like", "-k", 2)
    with Space.open(path) as space:
        assert pq.read_table(tmp_path / "all.parquet").num_rows == 3 * len(space.users)
        assert set(pq.read_table(tmp_path / "found.parquet").column("query").to_pylist()) == {"boots", "blue mat"}
        assert pq.read_table(tmp_path / "like").num_rows == 2 * len(space.catalog)
    run("jobs", "run", "train", path, "-o", tmp_path / "fits", "--seeds", "1,2")
    assert (tmp_path / "fits" / "recommender-2").is_dir()


def test_what_failed_is_told_and_resumed(tmp_path, capsys):
    job = works.plan(tmp_path / "out", rows=6, size=3, poison=[4])
    with pytest.raises(JobError, match="To blame: row-4"):
        run("jobs", "resume", job.path, "--attempts", 1)
    run("jobs", "status", job.path)
    told = capsys.readouterr().out
    assert "1 of 2" in told
    assert "square-000001: cannot square 4 To blame: row-4" in told
    assert "itemspace jobs resume" in told


def test_what_makes_no_sense_is_refused(tmp_path):
    job = works.plan(tmp_path / "out")
    with pytest.raises(RequestError, match="--attempts"):
        run("jobs", "resume", job.path, "--attempts", 0)
    with pytest.raises(RequestError, match="workers"):
        run("jobs", "resume", job.path, "--workers", 0)
    with pytest.raises(ArtifactError, match="there is no job"):
        run("jobs", "status", tmp_path)
    with pytest.raises(RequestError, match="--set"):
        run("jobs", "run", "tokenize", tmp_path, "-o", tmp_path / "codes", "--set", "branches")
    with pytest.raises(RequestError, match="--seeds"):
        run("jobs", "run", "train", tmp_path, "-o", tmp_path / "fits", "--seeds", "one")
    run("jobs", "resume", job.path)
    assert np.load(job.out / "squares.npy")[3] == 9
