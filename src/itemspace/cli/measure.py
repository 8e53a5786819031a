"""`evaluate` and `bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from itemspace.cli.ask import JSONOption, SpacePath
from itemspace.core.errors import RequestError


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
    family: Annotated[str, typer.Argument(help="recommend, search, beir, esci or mrtydi.")],
    data: Annotated[
        str,
        typer.Option("--data", help="A dataset's folder, or its name under ITEMSPACE_DATA; beir: several, by commas."),
    ],
    seeds: Annotated[int, typer.Option(help="How many seeds, for arms that have one.")] = 1,
    arms: Annotated[str | None, typer.Option(help="Only these arms, separated by commas.")] = None,
    task: Annotated[int | None, typer.Option(help="esci: 1 ranking, 2 four classes, 3 substitutes.")] = None,
    lang: Annotated[str | None, typer.Option(help="mrtydi: the language, such as sw.")] = None,
    locale: Annotated[str | None, typer.Option(help="esci: us, es or jp; default: all.")] = None,
    runs: Annotated[Path | None, typer.Option(help="beir, mrtydi: keep the run files in this folder.")] = None,
    model: Annotated[str | None, typer.Option(help="A sentence-transformers model for the minilm arms.")] = None,
    as_json: JSONOption = False,
) -> None:
    """One table: every arm of a family on one split at equal budget, baselines included."""
    from itemspace.cli.render import print_json
    from itemspace.cli.sources import id_list
    from itemspace.evaluate.benches import run_bench

    if seeds < 1:
        raise RequestError(f"--seeds is a whole number of at least 1, got {seeds}.")
    given = {"task": task, "lang": lang, "locale": locale, "runs": runs, "model": model}
    options = {name: value for name, value in given.items() if value is not None}
    takes = OPTIONS.get(family, ())
    for name in options:
        if family in OPTIONS and name not in takes:
            has = f"It takes --{', --'.join(takes)}." if takes else "It takes no option of its own."
            raise RequestError(f"bench `{family}` has no --{name}. {has}")
    several = data.split(",") if family == "beir" and "," in data else data
    report = run_bench(family, several, seeds=range(seeds), arms=id_list(arms) or None, **options)
    if as_json:
        print_json(json.loads(report.to_json()))
    else:
        print(report.terminal())


OPTIONS: dict[str, tuple[str, ...]] = {
    "recommend": (),
    "search": ("model",),
    "beir": ("runs", "model"),
    "esci": ("task", "locale"),
    "mrtydi": ("lang", "runs", "model"),
}
"""Which options each family of benches has beside those that all share."""
