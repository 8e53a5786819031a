"""One call for each kind of job: plan it, or take up the one that is there, and run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from itemspace.jobs.answering import CHUNK_ROWS as REQUESTS_OF_A_CHUNK
from itemspace.jobs.answering import plan_answers
from itemspace.jobs.building import plan_build
from itemspace.jobs.encoding import CHUNK_ROWS, plan_encode
from itemspace.jobs.evaluating import plan_evaluate
from itemspace.jobs.folder import Job
from itemspace.jobs.inputs import Source
from itemspace.jobs.running import Retries, Say, run
from itemspace.jobs.tokenizing import CHUNK_ROWS as VECTORS_OF_A_CHUNK
from itemspace.jobs.tokenizing import SAMPLE, TOKENIZER, plan_tokenize
from itemspace.jobs.training import plan_train
from itemspace.recipe import Part, Recipe
from itemspace.space import Space
from itemspace.space.build import VECTORS

RecipeLike = str | Path | Mapping[str, Any] | Recipe | None


class Driving(TypedDict, total=False):
    """Who works on a job, and how failures are taken: see `run`."""

    workers: int
    ray: str | None
    threads: int
    retries: Retries | None
    keep_chunks: bool
    say: Say


def encode(
    source: Source,
    out: str | Path,
    *,
    recipe: RecipeLike = None,
    name: str | None = None,
    chunk_rows: int = CHUNK_ROWS,
    job: str | Path | None = None,
    **driving: Unpack[Driving],
) -> Job:
    """Vectors of every item of `source`, in the folder `out` or in the store of the Space `out` under `name`.

    See `plan_encode` for what may be given, `run` for workers.
    """
    return _run(plan_encode(source, out, recipe=recipe, name=name, chunk_rows=chunk_rows, job=job), driving)


def tokenize(
    source: str | Path | Space,
    out: str | Path,
    *,
    tokenizer: str | Mapping[str, Any] | Part = TOKENIZER,
    vectors: str = VECTORS,
    seed: int = 0,
    sample: int = SAMPLE,
    chunk_rows: int = VECTORS_OF_A_CHUNK,
    job: str | Path | None = None,
    **driving: Unpack[Driving],
) -> Job:
    """Codes of every item of which `source` (an encoding job's folder, or a Space) has vectors, in the folder `out`.

    See `plan_tokenize` for what may be given, `run` for workers.
    """
    plan = plan_tokenize(
        source, out, tokenizer=tokenizer, vectors=vectors, seed=seed, sample=sample, chunk_rows=chunk_rows, job=job
    )
    return _run(plan, driving)


def train(
    source: Source,
    out: str | Path,
    *,
    recipe: RecipeLike = None,
    fit: Sequence[str] = ("recommender",),
    seeds: Sequence[int] | None = None,
    job: str | Path | None = None,
    **driving: Unpack[Driving],
) -> Job:
    """Fitted parts of a recipe in the folder `out`, one for each of `fit` and of `seeds`; see `plan_train` and `run`."""
    return _run(plan_train(source, out, recipe=recipe, fit=fit, seeds=seeds, job=job), driving)


def build(
    source: Source,
    out: str | Path,
    *,
    recipe: RecipeLike = None,
    chunk_rows: int = CHUNK_ROWS,
    job: str | Path | None = None,
    **driving: Unpack[Driving],
) -> Job:
    """The Space that `Space.build` makes, its long steps done by workers; see `plan_build` and `run`."""
    return _run(plan_build(source, out, recipe=recipe, chunk_rows=chunk_rows, job=job), driving)


def recommend(
    space: str | Path | Space,
    out: str | Path,
    *,
    users: Sequence[str] | str | Path | None = None,
    k: int = 10,
    where: str | None = None,
    exclude_seen: bool = True,
    drifting: bool = False,
    chunk_rows: int = REQUESTS_OF_A_CHUNK,
    job: str | Path | None = None,
    **driving: Unpack[Driving],
) -> Job:
    """Recommendations for `users` (by default all that are known) as a table; see `plan_answers` and `run`."""
    plan = plan_answers(
        "recommend",
        space,
        out,
        of=users,
        k=k,
        where=where,
        exclude_seen=exclude_seen,
        drifting=drifting,
        chunk_rows=chunk_rows,
        job=job,
    )
    return _run(plan, driving)


def search(
    space: str | Path | Space,
    out: str | Path,
    *,
    queries: Sequence[str] | str | Path,
    k: int = 10,
    where: str | None = None,
    by: str | None = None,
    drifting: bool = False,
    chunk_rows: int = REQUESTS_OF_A_CHUNK,
    job: str | Path | None = None,
    **driving: Unpack[Driving],
) -> Job:
    """Hits for all `queries` as a table; see `plan_answers` and `run`."""
    return _run(
        plan_answers(
            "search", space, out, of=queries, k=k, where=where, by=by, drifting=drifting, chunk_rows=chunk_rows, job=job
        ),
        driving,
    )


def similar(
    space: str | Path | Space,
    out: str | Path,
    *,
    items: Sequence[str] | str | Path | None = None,
    k: int = 10,
    where: str | None = None,
    by: str = "text",
    drifting: bool = False,
    chunk_rows: int = REQUESTS_OF_A_CHUNK,
    job: str | Path | None = None,
    **driving: Unpack[Driving],
) -> Job:
    """Items like each of `items` (by default of all) as a table; see `plan_answers` and `run`."""
    return _run(
        plan_answers(
            "similar", space, out, of=items, k=k, where=where, by=by, drifting=drifting, chunk_rows=chunk_rows, job=job
        ),
        driving,
    )


def evaluate(
    space: str | Path | Space,
    out: str | Path,
    *,
    k: int = 10,
    job: str | Path | None = None,
    **driving: Unpack[Driving],
) -> Job:
    """The reports of `Space.evaluate` as the JSON file `out`; see `plan_evaluate` and `run`."""
    return _run(plan_evaluate(space, out, k=k, job=job), driving)


def resume(job: str | Path, **driving: Unpack[Driving]) -> Job:
    """Go on with the job in a folder, from what is there; see `run`.

    Raises:
        ArtifactError: there is no job.
    """
    return _run(Job.open(job), driving)


def _run(job: Job, driving: Driving) -> Job:
    run(job, **driving)
    return job
