"""`evaluate` and `bench`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itemspace.cli.ask import JSONOption, SpacePath
from itemspace.core.errors import RequestError

if TYPE_CHECKING:
    from itemspace.core.report import Report


def evaluate(
    space: SpacePath,
    k: Annotated[int, typer.Option("-k", help="The main cut-off.")] = 10,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page.")] = None,
    as_json: JSONOption = False,
) -> None:
    """Measure search (where queries are judged) and recommendation (on held-out events), with slices and intervals."""
    from itemspace.cli.render import print_json
    from itemspace.space import Space

    with Space.open(space) as opened:
        reports = opened.evaluate(k=k)
    if as_json:
        print_json({name: json.loads(report.to_json()) for name, report in reports.items()})
        return
    for report in reports.values():
        print(report.terminal())
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        for name, report in reports.items():
            target = (
                html
                if len(reports) == 1
                else html.with_name(f"{html.stem}-{name.replace(' ', '-')}{html.suffix or '.html'}")
            )
            target.write_text(report.html(), encoding="utf-8")
            print(f"Wrote {target}")


def bench(
    family: Annotated[str, typer.Argument(help="recommend, search, beir, esci, mrtydi, indexes or fanns.")],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="A dataset's folder, or its name under ITEMSPACE_DATA; beir: several, by commas; indexes: or a Space.",
        ),
    ],
    seeds: Annotated[int, typer.Option(help="How many seeds, for arms that have one.")] = 1,
    arms: Annotated[str | None, typer.Option(help="Only these arms, separated by commas.")] = None,
    task: Annotated[int | None, typer.Option(help="esci: 1 ranking, 2 four classes, 3 substitutes.")] = None,
    lang: Annotated[str | None, typer.Option(help="mrtydi: the language, such as sw.")] = None,
    locale: Annotated[str | None, typer.Option(help="esci: us, es or jp; default: all.")] = None,
    runs: Annotated[Path | None, typer.Option(help="beir, mrtydi: keep the run files in this folder.")] = None,
    model: Annotated[
        str | None, typer.Option(help="A sentence-transformers model: the minilm arms', the vectors'.")
    ] = None,
    types: Annotated[str | None, typer.Option(help="indexes: only these of ours, separated by commas.")] = None,
    count: Annotated[int | None, typer.Option(help="indexes, fanns: at most so many items.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report, with its plots, as a page.")] = None,
    as_json: JSONOption = False,
) -> None:
    """One table: every arm of a family on one split at equal budget, baselines included."""
    from itemspace.cli.render import print_json
    from itemspace.cli.sources import id_list
    from itemspace.evaluate.benches import run_bench

    if seeds < 1:
        raise RequestError(f"--seeds is a whole number of at least 1, got {seeds}.")
    given: dict[str, Any] = {"task": task, "lang": lang, "locale": locale, "runs": runs, "model": model, "count": count}
    given["types"] = id_list(types) or None
    options = {name: value for name, value in given.items() if value is not None}
    takes = OPTIONS.get(family, ())
    for name in options:
        if family in OPTIONS and name not in takes:
            has = f"It takes --{', --'.join(takes)}." if takes else "It takes no option of its own."
            raise RequestError(f"bench `{family}` has no --{name}. {has}")
    several: Any = data.split(",") if family == "beir" and "," in data else data
    if family == "indexes" and Path(data, "CURRENT").exists():
        several = _space_vectors(Path(data), options.pop("count", None))
    report = run_bench(family, several, seeds=range(seeds), arms=id_list(arms) or None, **options)
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(report.html(), encoding="utf-8")
        print(f"Wrote {html}", file=sys.stderr)
    if as_json:
        print_json(json.loads(report.to_json()))
    elif len(report.arms) > COLUMNS:
        print(by_arm(report))
    else:
        print(report.terminal())


COLUMNS = 8
"""Arms that stand beside each other; more stand below each other."""


def _space_vectors(path: Path, count: int | None) -> Any:
    """A Space's own vectors, with the queries it was given."""
    from itemspace.space import Space
    from itemspace.space.index_tuning import vector_data

    with Space.open(path) as opened:
        return vector_data(opened, count)


def by_arm(report: Report) -> str:
    """A report of many arms: one row each."""
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from itemspace.core.report import ALL, decimal

    found = {(m.arm, m.metric): m.value for m in report.measures if m.slice == ALL}
    table = Table(title=report.title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for name in ("", *report.metrics):
        table.add_column(name, justify="right" if name else "left")
    for arm in report.arms:
        cells = [decimal(found[arm, metric]) if (arm, metric) in found else "" for metric in report.metrics]
        table.add_row(Text(arm), *cells)
    out = io.StringIO()
    console = Console(file=out, width=150, highlight=False)
    console.print(table)
    for note in report.notes:
        console.print(Text(note))
    return out.getvalue().rstrip()


OPTIONS: dict[str, tuple[str, ...]] = {
    "recommend": (),
    "search": ("model",),
    "beir": ("runs", "model"),
    "esci": ("task", "locale"),
    "mrtydi": ("lang", "runs", "model"),
    "indexes": ("types", "count", "model"),
    "fanns": ("count", "model"),
}
"""Which options each family of benches has beside those that all share."""
