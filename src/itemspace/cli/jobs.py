"""`jobs`: work that several processes or machines share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itemspace.core.errors import RequestError

if TYPE_CHECKING:
    from itemspace.jobs import Driving, Job
    from itemspace.jobs.standing import Status

jobs_app = typer.Typer(
    no_args_is_help=True, help="Work that several processes or machines share, resumed after a kill."
)
run_app = typer.Typer(no_args_is_help=True, help="Plan a job and run it, or go on with the one that is there.")
jobs_app.add_typer(run_app, name="run")

Source = Annotated[Path, typer.Argument(help="Items, a folder in a published format, or a Space.")]
SpacePath = Annotated[Path, typer.Argument(help="A Space that `itemspace build` made.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where the result goes.")]
RecipePath = Annotated[Path | None, typer.Option("--recipe", help="A TOML file that overrides defaults.")]
Assignments = Annotated[list[str] | None, typer.Option("--set", help="section.key=value, over the recipe.")]
Folder = Annotated[Path | None, typer.Option("--job", help="Where the job lies; by default beside the result.")]
Workers = Annotated[
    int, typer.Option("--workers", help="Chunks worked on at a time: processes here, or places on Ray.")
]
RayAddress = Annotated[str | None, typer.Option("--ray", help="A Ray cluster's host:port, or auto (extra: jobs).")]
Threads = Annotated[int, typer.Option("--threads", help="Threads of each worker.")]
Attempts = Annotated[int, typer.Option("--attempts", help="How often a chunk that fails is tried.")]
ChunkRows = Annotated[int | None, typer.Option("--chunk", help="Rows of a chunk.")]
Count = Annotated[int, typer.Option("-k", help="How many hits.")]
WhereOption = Annotated[str | None, typer.Option("--where", help='A filter: "price < 80 and in_stock".')]
Drifting = Annotated[bool, typer.Option("--drifting", help="Go on when the Space changes meanwhile.")]
JSONOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@run_app.command("encode")
def encode(
    source: Source,
    output: Output,
    recipe: RecipePath = None,
    set_: Assignments = None,
    name: Annotated[str | None, typer.Option(help="The vectors' name, where the result goes into a Space.")] = None,
    chunk: ChunkRows = None,
    job: Folder = None,
    workers: Workers = 1,
    ray: RayAddress = None,
    threads: Threads = 1,
    attempts: Attempts = 3,
) -> None:
    """Vectors of every item, in a folder or in a Space's store."""
    from itemspace.jobs.encoding import CHUNK_ROWS, plan_encode

    plan = plan_encode(
        source, output, recipe=_recipe(recipe, set_), name=name, chunk_rows=_size(chunk, CHUNK_ROWS), job=job
    )
    _drive(plan, workers, ray, threads, attempts)


@run_app.command("tokenize")
def tokenize(
    source: Annotated[Path, typer.Argument(help="The folder of an encoding job, or a Space.")],
    output: Output,
    tokenizer: Annotated[str, typer.Option(help="A tokenizer by name.")] = "hierarchical-k-means",
    set_: Annotated[list[str] | None, typer.Option("--set", help="An option of the tokenizer: key=value.")] = None,
    vectors: Annotated[str, typer.Option(help="Which of a Space's vectors.")] = "text",
    seed: Annotated[int, typer.Option(help="The seed of the fit.")] = 0,
    sample: Annotated[int | None, typer.Option(help="Most vectors the tokenizer is fitted on.")] = None,
    chunk: ChunkRows = None,
    job: Folder = None,
    workers: Workers = 1,
    ray: RayAddress = None,
    threads: Threads = 1,
    attempts: Attempts = 3,
) -> None:
    """Codes of every item that has a vector."""
    from itemspace.jobs.tokenizing import CHUNK_ROWS, SAMPLE, plan_tokenize

    part: dict[str, Any] = {"name": tokenizer, **_options(set_)}
    plan = plan_tokenize(
        source, output, tokenizer=part, vectors=vectors, seed=seed, sample=_size(sample, SAMPLE),
        chunk_rows=_size(chunk, CHUNK_ROWS), job=job,
    )  # fmt: skip
    _drive(plan, workers, ray, threads, attempts)


@run_app.command("train")
def train(
    source: Source,
    output: Output,
    interactions: Annotated[Path | None, typer.Option(help="Events: user, item, time, ...")] = None,
    recipe: RecipePath = None,
    set_: Assignments = None,
    part: Annotated[list[str] | None, typer.Option("--part", help="encoder or recommender. Repeatable.")] = None,
    seeds: Annotated[str | None, typer.Option(help="A fit for each of these seeds, separated by commas.")] = None,
    job: Folder = None,
    workers: Workers = 1,
    ray: RayAddress = None,
    threads: Threads = 1,
    attempts: Attempts = 3,
) -> None:
    """Fit parts of a recipe; a killed fit that keeps a checkpoint goes on from it."""
    from itemspace.jobs.training import plan_train

    plan = plan_train(
        _source(source, interactions), output, recipe=_recipe(recipe, set_), fit=part or ["recommender"],
        seeds=_numbers(seeds), job=job,
    )  # fmt: skip
    _drive(plan, workers, ray, threads, attempts)


@run_app.command("build")
def build(
    items: Annotated[Path, typer.Argument(help="Items, or a folder in a published format.")],
    output: Output,
    interactions: Annotated[Path | None, typer.Option(help="Events: user, item, time, ...")] = None,
    queries: Annotated[Path | None, typer.Option(help="Queries to evaluate search with.")] = None,
    judgments: Annotated[Path | None, typer.Option(help="Graded judgments: query, item, grade.")] = None,
    impressions: Annotated[Path | None, typer.Option(help="What was shown, where, and what came of it.")] = None,
    recipe: RecipePath = None,
    set_: Assignments = None,
    chunk: ChunkRows = None,
    job: Folder = None,
    workers: Workers = 1,
    ray: RayAddress = None,
    threads: Threads = 1,
    attempts: Attempts = 3,
) -> None:
    """The Space that `itemspace build` makes, its long steps done by workers."""
    from itemspace.jobs.building import plan_build
    from itemspace.jobs.encoding import CHUNK_ROWS

    source = _source(items, interactions, queries, judgments, impressions)
    plan = plan_build(source, output, recipe=_recipe(recipe, set_), chunk_rows=_size(chunk, CHUNK_ROWS), job=job)
    _drive(plan, workers, ray, threads, attempts)


@run_app.command("recommend")
def recommend(
    space: SpacePath,
    output: Output,
    users: Annotated[Path | None, typer.Option(help="User IDs, one a line or Parquet; by default all.")] = None,
    k: Count = 10,
    where: WhereOption = None,
    include_seen: Annotated[bool, typer.Option(help="Let items of the history come back.")] = False,
    drifting: Drifting = False,
    chunk: ChunkRows = None,
    job: Folder = None,
    workers: Workers = 1,
    ray: RayAddress = None,
    threads: Threads = 1,
    attempts: Attempts = 3,
) -> None:
    """Recommendations for all users, as a Parquet table."""
    from itemspace.jobs.answering import CHUNK_ROWS, plan_answers

    plan = plan_answers(
        "recommend", space, output, of=users, k=k, where=where, exclude_seen=not include_seen, drifting=drifting,
        chunk_rows=_size(chunk, CHUNK_ROWS), job=job,
    )  # fmt: skip
    _drive(plan, workers, ray, threads, attempts)


@run_app.command("search")
def search(
    space: SpacePath,
    output: Output,
    queries: Annotated[
        Path, typer.Option(help="Queries: one a line, or Parquet with `text` (and `query`, their IDs).")
    ],
    k: Count = 10,
    where: WhereOption = None,
    by: Annotated[str | None, typer.Option(help="reranked, hybrid, lexical, dense or system.")] = None,
    drifting: Drifting = False,
    chunk: ChunkRows = None,
    job: Folder = None,
    workers: Workers = 1,
    ray: RayAddress = None,
    threads: Threads = 1,
    attempts: Attempts = 3,
) -> None:
    """Hits for all queries, as a Parquet table."""
    from itemspace.jobs.answering import CHUNK_ROWS, plan_answers

    plan = plan_answers(
        "search", space, output, of=queries, k=k, where=where, by=by, drifting=drifting,
        chunk_rows=_size(chunk, CHUNK_ROWS), job=job,
    )  # fmt: skip
    _drive(plan, workers, ray, threads, attempts)


@run_app.command("similar")
def similar(
    space: SpacePath,
    output: Output,
    items: Annotated[Path | None, typer.Option(help="Item IDs, one a line or Parquet; by default all.")] = None,
    k: Count = 10,
    where: WhereOption = None,
    by: Annotated[str, typer.Option(help="text or behavior.")] = "text",
    drifting: Drifting = False,
    chunk: ChunkRows = None,
    job: Folder = None,
    workers: Workers = 1,
    ray: RayAddress = None,
    threads: Threads = 1,
    attempts: Attempts = 3,
) -> None:
    """Items like each item, as a Parquet table."""
    from itemspace.jobs.answering import CHUNK_ROWS, plan_answers

    plan = plan_answers(
        "similar", space, output, of=items, k=k, where=where, by=by, drifting=drifting,
        chunk_rows=_size(chunk, CHUNK_ROWS), job=job,
    )  # fmt: skip
    _drive(plan, workers, ray, threads, attempts)


@run_app.command("evaluate")
def evaluate(
    space: SpacePath,
    output: Output,
    k: Annotated[int, typer.Option("-k", help="The main cut-off.")] = 10,
    job: Folder = None,
    workers: Workers = 1,
    ray: RayAddress = None,
    threads: Threads = 1,
    attempts: Attempts = 3,
) -> None:
    """The reports of `itemspace evaluate`, as JSON."""
    from itemspace.jobs.evaluating import plan_evaluate

    _drive(plan_evaluate(space, output, k=k, job=job), workers, ray, threads, attempts)


@jobs_app.command("resume")
def resume(
    folder: Annotated[Path, typer.Argument(help="A job's folder.")],
    workers: Workers = 1,
    ray: RayAddress = None,
    threads: Threads = 1,
    attempts: Attempts = 3,
) -> None:
    """Go on with a job, from what is done of it."""
    from itemspace.jobs.folder import Job

    _drive(Job.open(folder), workers, ray, threads, attempts)


@jobs_app.command("status")
def status(
    folder: Annotated[Path, typer.Argument(help="A job's folder.")],
    as_json: JSONOption = False,
) -> None:
    """How far a job is, and what went wrong."""
    from itemspace.jobs.standing import status as found

    told = found(folder)
    if as_json:
        from itemspace.cli.render import print_json

        print_json(told.to_json())
        return
    _print(told)


def _print(told: Status) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=f"{told.kind} into {told.out}: {told.state}", title_justify="left", pad_edge=False)
    for name in ("phase", "chunks done", "rows", "CPU s", "rows per CPU s"):
        table.add_column(name, justify="left" if name == "phase" else "right")
    for one in told.phases:
        speed = f"{one.rows_per_cpu_s:,.0f}" if one.cpu_s else ""
        table.add_row(one.phase, f"{one.done:,} of {one.chunks:,}", f"{one.rows:,}", f"{one.cpu_s:,.1f}", speed)
    console.print(table)
    for failure in told.failures:
        blame = f" To blame: {', '.join(failure['rows'])}" if failure["rows"] else ""
        console.print(f"{failure['chunk']}: {failure['error']}{blame}", highlight=False, markup=False)
    if told.state in ("failed", "stopped"):
        console.print(f"Go on with: itemspace jobs resume {told.job}", highlight=False, markup=False)


def _drive(job: Job, workers: int, ray: str | None, threads: int, attempts: int) -> None:
    from rich.console import Console

    from itemspace.jobs import Retries, run

    console = Console(stderr=True)
    if attempts < 1:
        raise RequestError(f"--attempts is a whole number of at least 1, got {attempts}.")
    driving: Driving = {
        "workers": workers, "ray": ray, "threads": threads, "retries": Retries(attempts=attempts),
        "say": lambda line: console.print(line, highlight=False, markup=False),
    }  # fmt: skip
    told = run(job, **driving)
    spent = sum(one["cpu_s"] for one in told["phases"].values())
    console.print(
        f"Wrote {told['out']}: {told['rows']:,} rows, {told['chunks']:,} chunks, {spent:,.1f} CPU s of workers"
    )


def _source(items: Path, *logs: Path | None) -> Any:
    """Items with the logs beside them (events, queries, judgments, impressions), or a path that says it all."""
    from itemspace.core.errors import DataError
    from itemspace.data.table_files import TableFiles

    if not any(logs):
        return items
    if items.is_dir():
        raise DataError("a folder is read whole.", hint="Give the files one by one instead.", file=str(items))
    names = ("interactions", "queries", "judgments", "impressions")
    return TableFiles(items, **dict(zip(names, logs, strict=False)))  # type: ignore[arg-type]


def _recipe(path: Path | None, assignments: list[str] | None) -> Any:
    """The recipe, or None where nothing was said of it."""
    from itemspace.recipe import Recipe

    if path is None and not assignments:
        return None
    return Recipe.load(path).override(assignments or [])


def _options(assignments: list[str] | None) -> dict[str, Any]:
    import tomllib

    options: dict[str, Any] = {}
    for text in assignments or []:
        key, sign, raw = text.partition("=")
        if not sign or not key.strip():
            raise RequestError(f'--set "{text}" is not key=value, such as branches=16.')
        try:
            options[key.strip()] = tomllib.loads(f"x = {raw}")["x"]
        except tomllib.TOMLDecodeError:
            options[key.strip()] = raw
    return options


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    if not all(part.strip().isdigit() for part in text.split(",")):
        raise RequestError(f'--seeds "{text}" is not a list of whole numbers such as 0,1,2.')
    return [int(part) for part in text.split(",")]


def _size(given: int | None, default: int) -> int:
    return default if given is None else given
