"""Every kind of job gives what the same calls give in one process: to the last bit where it is numbers."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from itemspace import jobs
from itemspace.core.contracts import ItemTokenizer
from itemspace.core.dataset import Dataset
from itemspace.core.errors import ArtifactError, ContractError, RecipeError, RequestError
from itemspace.core.keeping import open_part
from itemspace.core.seeding import derive
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.identify.hierarchical_kmeans import HierarchicalKMeans
from itemspace.jobs.encoding import plan_encode
from itemspace.jobs.inputs import freeze, thaw
from itemspace.space import Space
from tests.jobs.conftest import RECIPE


@pytest.fixture
def space(space_path):
    with Space.open(space_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def encoded(shop, tmp_path_factory):
    out = tmp_path_factory.mktemp("encoded") / "vectors"
    jobs.encode(shop, out, recipe=RECIPE, chunk_rows=77)
    return out


def stored_vectors(space, name="text"):
    rows, values = space._store.vectors(name)
    return rows, np.asarray(values)


def test_a_dataset_thaws_as_it_was_frozen(shop, tmp_path):
    for name, data in {"all": shop, "bare": Dataset(shop.catalog), "asked": replace(shop, judgments=None)}.items():
        folder = tmp_path / name
        folder.mkdir()
        freeze(data, folder)
        again = thaw(folder)
        assert again.fingerprint == data.fingerprint
        assert again.catalog.schema.kinds == data.catalog.schema.kinds
        assert (again.interactions is None) == (data.interactions is None)


def test_vectors_are_those_of_a_build(shop, space, tmp_path):
    _, built = stored_vectors(space)
    job = jobs.encode(shop, tmp_path / "one", recipe=RECIPE)
    ids, vectors = jobs.read_vectors(tmp_path / "one")
    assert ids == space.catalog.ids
    assert vectors.values.tobytes() == built.tobytes()
    assert vectors.space == space.retriever("dense").encoder.space
    assert job.result["rows"] == len(shop.catalog)
    two = jobs.encode(space, tmp_path / "two", workers=2, chunk_rows=64)  # by the Space's own encoder
    assert (tmp_path / "two" / "vectors.npy").read_bytes() == (tmp_path / "one" / "vectors.npy").read_bytes()
    assert two.result["phases"]["encode"]["workers"] == 2
    assert [phase.name for phase in two.phases] == ["encode"]


def test_vectors_go_into_a_space_once(space_path, tmp_path):
    mine = tmp_path / "shop.space"
    shutil.copytree(space_path, mine)
    recipe = {"encoder": {"name": "lsa", "dimension": 8}}
    with Space.open(mine) as space:
        touched = space.catalog.ids[5]
        job = plan_encode(space, mine, recipe=recipe, name="small", chunk_rows=100)
        title = next(name for name in space.catalog.schema.columns("text"))
        space.update([{space.catalog.schema.id: touched, title: "something else"}])
    jobs.run(job, keep_chunks=True)
    with Space.open(mine) as space:
        rows, values = stored_vectors(space, "small")
        assert values.shape == (len(space.catalog) - 1, 8)
        assert 5 not in rows  # it changed after it was read: an old vector would be wrong
        version = space.version
        assert job.result["left_out"] == 1
    (job.path / "result.json").unlink()  # killed after the write, before the note
    jobs.resume(job.path)
    with Space.open(mine) as space:
        assert space.version == version


def test_the_vectors_a_space_searches_by_are_not_replaced_by_others(space_path, tmp_path):
    mine = tmp_path / "shop.space"
    shutil.copytree(space_path, mine)
    with pytest.raises(ContractError, match="searches by"):
        jobs.encode(mine, mine, recipe={"encoder": {"name": "lsa", "dimension": 8}}, name="text")
    with pytest.raises(RequestError, match="need a name"):
        jobs.encode(mine, mine)
    with pytest.raises(RequestError, match="kept in a Space"):
        jobs.encode(mine, tmp_path / "out", name="small")
    with pytest.raises(RecipeError, match="no encoder"):
        jobs.encode(mine, tmp_path / "out", recipe={"encoder": False})


@pytest.mark.parametrize("codes", [1, 2])
def test_codes_are_those_of_one_assignment(encoded, tmp_path, codes):
    options = {"branches": 4, "codes_per_item": codes}
    if "collisions" in HierarchicalKMeans.config_class().model_fields:
        options["collisions"] = "allow"  # those that settle collisions see all items at once
    job = jobs.tokenize(
        encoded,
        tmp_path / "codes",
        tokenizer={"name": "hierarchical-k-means", **options},
        chunk_rows=64,
        seed=3,
    )
    ids, found = jobs.read_codes(tmp_path / "codes")
    known, vectors = jobs.read_vectors(encoded)
    plain = HierarchicalKMeans(**options).fit(vectors, rng=derive(3, "tokenizer"))
    expected = plain.assign(vectors)
    assert ids == known
    assert found.level_sizes == expected.level_sizes
    assert found.version == expected.version
    assert len(found) == len(expected) == job.result["codes"]
    assert len(job.phase("assign")) > 1
    for row in range(0, len(ids), 17):
        assert found.of_item(row) == expected.of_item(row)
    opened = open_part(tmp_path / "codes" / "tokenizer")
    assert opened.version == expected.version
    table = pq.read_table(tmp_path / "codes" / "codes.parquet")
    assert table.column("item")[0].as_py() == ids[0]


class Counting(ItemTokenizer):
    """Numbers items as they come: what it says of one depends on the others."""

    def fit(self, representations, *, rng=0):
        return self

    def assign(self, representations):
        from itemspace.core.codes import Codes

        return Codes.from_matrix(np.arange(len(representations))[:, None], (len(representations) + 1,))

    def save(self, folder):
        (folder / "counting").touch()

    @classmethod
    def open(cls, folder):
        return cls()


def test_a_tokenizer_that_needs_company_gets_all_in_one_chunk(encoded, tmp_path):
    named = f"{Counting.__module__}:Counting"
    with pytest.raises(jobs.JobError, match="other codes in other company"):
        jobs.tokenize(encoded, tmp_path / "cut", tokenizer=named, chunk_rows=64, retries=jobs.Retries(attempts=1))
    jobs.tokenize(encoded, tmp_path / "whole", tokenizer=named, chunk_rows=10_000)
    assert jobs.read_codes(tmp_path / "whole")[1].values.tolist() == list(range(300))


def test_a_space_is_tokenized_by_the_vectors_it_keeps(space, tmp_path):
    jobs.tokenize(space, tmp_path / "codes")
    ids, codes = jobs.read_codes(tmp_path / "codes")
    assert ids == space.catalog.ids
    assert sorted(set(codes.item.tolist())) == list(range(len(ids)))
    with pytest.raises(RequestError, match="keeps no vectors named `nope`; it has: text"):
        jobs.tokenize(space, tmp_path / "other", vectors="nope")


def test_fits_are_those_of_a_build(shop, space, tmp_path):
    recipe = RECIPE | {"recommender": {"name": "bpr-mf", "epochs": 2}}
    jobs.train(shop, tmp_path / "fitted", recipe=RECIPE, fit=("encoder", "recommender"))
    encoder = open_part(tmp_path / "fitted" / "encoder")
    assert encoder.space == space.retriever("dense").encoder.space
    model = open_part(tmp_path / "fitted" / "recommender").bind(space.catalog)
    users = [space.users[row] for row in range(20)]
    space._live.recommender, held = model, space._live.recommender
    ours = space.recommend(user=users)
    space._live.recommender = held
    assert np.array_equal(ours.rows, space.recommend(user=users).rows)
    jobs.train(shop, tmp_path / "seeds", recipe=recipe, seeds=[1, 2])
    assert sorted(path.name for path in (tmp_path / "seeds").iterdir() if path.is_dir()) == [
        "recommender-1",
        "recommender-2",
    ]
    with pytest.raises(RequestError, match="Did you mean `recommender`"):
        jobs.train(shop, tmp_path / "odd", fit=["recomender"])


def answers(hits, names, column):
    """Rows of a table of answers, made one by one."""
    return [
        {column: name, "rank": hit.rank + 1, "hit": hit.item, "score": np.float32(hit.score)}
        for name, found in zip(names, hits, strict=True)
        for hit in found
    ]


def test_recommendations_for_all_are_those_for_each(space, tmp_path):
    jobs.recommend(space, tmp_path / "all.parquet", k=5, where="price < 200", workers=2, job=tmp_path / "a.job")
    table = pq.read_table(tmp_path / "all.parquet")
    names = space.users.values.to_pylist()
    expected = answers(space.recommend(user=names, k=5, where="price < 200"), names, "user")
    assert [row | {"score": np.float32(row["score"])} for row in table.to_pylist()] == expected
    jobs.recommend(space, tmp_path / "parts", k=5, where="price < 200")
    assert pq.read_table(tmp_path / "parts").to_pylist() == table.to_pylist()


def test_searches_and_likes_are_those_of_the_space(space, shop, tmp_path):
    texts = list(dict.fromkeys(shop.queries.texts))[:30]
    jobs.search(space, tmp_path / "found.parquet", queries=texts, k=4)
    table = pq.read_table(tmp_path / "found.parquet").to_pylist()
    assert [row | {"score": np.float32(row["score"])} for row in table] == answers(
        space.search(texts, k=4), texts, "query"
    )
    (tmp_path / "items.txt").write_text("\n".join(space.catalog.ids.values.to_pylist()[:9]))
    jobs.similar(space, tmp_path / "like.parquet", items=tmp_path / "items.txt", k=3)
    some = space.catalog.ids.values.to_pylist()[:9]
    table = pq.read_table(tmp_path / "like.parquet").to_pylist()
    assert [row | {"score": np.float32(row["score"])} for row in table] == answers(
        space.similar(some, k=3), some, "item"
    )


def test_a_row_that_cannot_be_asked_is_named(space, tmp_path):
    (tmp_path / "items.txt").write_text("\n".join([*space.catalog.ids.values.to_pylist()[:40], "no-such-item"]))
    with pytest.raises(jobs.JobError, match="To blame: no-such-item"):
        jobs.similar(space, tmp_path / "like.parquet", items=tmp_path / "items.txt", retries=jobs.Retries(attempts=1))
    with pytest.raises(RequestError):
        jobs.recommend(space, tmp_path / "k.parquet", k=0)


def test_a_space_that_changes_stops_the_job(space_path, tmp_path):
    mine = tmp_path / "shop.space"
    shutil.copytree(space_path, mine)
    from itemspace.jobs.answering import plan_answers

    strict = plan_answers("recommend", mine, tmp_path / "strict.parquet")
    loose = plan_answers("recommend", mine, tmp_path / "loose.parquet", drifting=True)
    with Space.open(mine) as space:
        gone = space.catalog.ids[7]
        space.remove([gone])
    with pytest.raises(jobs.JobError, match="has changed since the job was planned"):
        jobs.run(strict, retries=jobs.Retries(pause=30))  # no second attempt can help: none is made
    jobs.run(loose)
    assert gone not in pq.read_table(tmp_path / "loose.parquet").column("hit").to_pylist()


def told(report):
    return {
        key: value for key, value in report.items() if key in ("title", "measures", "comparisons", "curves", "notes")
    }


def test_reports_are_those_of_the_space(space, tmp_path):
    jobs.evaluate(space, tmp_path / "reports.json")
    found = json.loads((tmp_path / "reports.json").read_text())
    expected = {name: json.loads(report.to_json()) for name, report in space.evaluate(keep=False).items()}
    assert set(found) == set(expected)
    for name in ("search", "recommendation"):
        assert told(found[name]) == told(expected[name])


def test_a_space_built_by_workers_answers_like_one_built_here(shop, space, tmp_path):
    job = jobs.build(shop, tmp_path / "built.space", recipe=RECIPE, chunk_rows=100, workers=2)
    with Space.open(tmp_path / "built.space") as built:
        assert stored_vectors(built)[1].tobytes() == stored_vectors(space)[1].tobytes()
        texts = list(dict.fromkeys(shop.queries.texts))[:10]
        assert np.array_equal(built.search(texts).rows, space.search(texts).rows)
        users = space.users.values.to_pylist()[:10]
        assert np.array_equal(built.recommend(user=users).rows, space.recommend(user=users).rows)
        assert built.dataset().fingerprint == space.dataset().fingerprint
    assert job.result["phases"]["encode"]["workers"] == 2
    assert not list((tmp_path / "built.space" / "stages").rglob("*.npy"))
    with pytest.raises(ArtifactError, match="is a Space already"):
        jobs.build(shop, tmp_path / "built.space", job=tmp_path / "again.job")


def test_vectors_of_none_and_of_other_things(tmp_path):
    with pytest.raises(ArtifactError, match="holds no vectors"):
        jobs.read_vectors(tmp_path)
    with pytest.raises(ArtifactError, match="holds no codes"):
        jobs.read_codes(tmp_path)
    assert Dense(np.zeros((0, 2), np.float32), VectorSpace("x", 2)).values.shape == (0, 2)
