"""`systems`: the gallery on the command line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itemspace.core.errors import RequestError

if TYPE_CHECKING:
    from itemspace.systems.registry import Row

systems_app = typer.Typer(invoke_without_command=True, help="The gallery: published systems, and what was measured.")


@systems_app.callback()
def listed(
    context: typer.Context,
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    built: Annotated[bool, typer.Option("--built", help="Only systems that can be built.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """List every system with its state."""
    if context.invoked_subcommand is not None:
        return
    from itemspace.systems.registry import listing

    rows = [row for row in listing() if family in (None, row.family) and (not built or row.state != "not built")]
    if not rows:
        families = sorted({row.family for row in listing()})
        raise RequestError(f"no such system. Families: {', '.join(families)}.")
    if as_json:
        from itemspace.cli.render import print_json
        from itemspace.systems.page import gallery_rows

        shown = {row.slug for row in rows}
        print_json([row for row in gallery_rows() if row["slug"] in shown])
        return
    _print(rows)


def _print(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(rows)} systems", title_justify="left", pad_edge=False)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("slug", no_wrap=True)
    table.add_column("title", overflow="ellipsis", no_wrap=True, max_width=40)
    table.add_column("state")
    for row in rows:
        counts = Counter(verdict.split(" (")[0] for verdict in row.verdicts)
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        table.add_row(str(row.n), row.slug, row.title, f"{row.state}: {told}" if told else row.state)
    Console().print(table)


@systems_app.command("run")
def run(
    slug: Annotated[str | None, typer.Argument(help="The system; with --all, every one that is built.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Run every system that is built.")] = False,
    quick: Annotated[bool, typer.Option(help="Seconds instead of minutes; not kept.")] = False,
    data: Annotated[
        Path | None, typer.Option(envvar="ITEMSPACE_DATA", help="The folder with published datasets.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds, separated by commas; default: the harness's.")] = None,
    keep: Annotated[bool, typer.Option(help="Keep the finding and write docs/systems.md.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Measure a system's claims in a world where they must hold, one where they must not, and on real data."""
    from itemspace.systems.page import write_page
    from itemspace.systems.registry import built, findings_folder
    from itemspace.systems.run import run_system

    if (slug is None) == (not everything):
        raise RequestError("name one system, or pass --all. `itemspace systems --built` lists what can be run.")
    folder, numbers = findings_folder(), None
    if seeds is not None:
        if not all(part.strip().isdigit() for part in seeds.split(",")):
            raise RequestError(f'--seeds "{seeds}" is not a list of whole numbers such as 0,1,2.')
        numbers = [int(part) for part in seeds.split(",")]
    for one in list(built()) if everything else [str(slug)]:
        finding = run_system(one, data=data, quick=quick, seeds=numbers, keep=folder if keep else None)
        if as_json:
            from itemspace.cli.render import print_json

            print_json(finding)
        else:
            print_finding(finding)
    if keep and not quick:
        write_page(folder.parent / "systems.md", folder)
        print(f"Wrote {folder.parent / 'systems.md'}")


def print_finding(finding: dict[str, Any]) -> None:
    """A finding claim by claim, place by place."""
    from rich.console import Console
    from rich.table import Table

    from itemspace.systems.page import told

    console = Console()
    table = Table(title=f"{finding['slug']}: {finding['state']}", title_justify="left", pad_edge=False)
    table.add_column("claim", max_width=48)
    for place in finding["places"]:
        table.add_column(place, max_width=36)
    table.add_column("verdict")
    for claim in finding["claims"]:
        cells = [told(claim["places"].get(place)) for place in finding["places"]]
        table.add_row(f"{claim['text']} ({claim['bar']})", *cells, claim["verdict"])
    console.print(table)
    for place, measured in finding["places"].items():
        for note in measured["notes"]:
            console.print(f"{place}: {note}", highlight=False, markup=False)
