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
    family: Annotated[str, typer.Argument(help="recommend or search.")],
    data: Annotated[str, typer.Option("--data", help="A dataset's folder, or its name under ITEMSPACE_DATA.")],
    seeds: Annotated[int, typer.Option(help="How many seeds, for arms that have one.")] = 1,
    arms: Annotated[str | None, typer.Option(help="Only these arms, separated by commas.")] = None,
    as_json: JSONOption = False,
) -> None:
    """One table: every arm of a family on one split at equal budget, baselines included."""
    from itemspace.cli.render import print_json
    from itemspace.cli.sources import id_list
    from itemspace.evaluate.benches import run_bench

    if seeds < 1:
        raise RequestError(f"--seeds is a whole number of at least 1, got {seeds}.")
    report = run_bench(family, data, seeds=range(seeds), arms=id_list(arms) or None)
    if as_json:
        print_json(report.to_json())
    else:
        print(report.terminal())
