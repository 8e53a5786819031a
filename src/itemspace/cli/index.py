"""`index tune`: which index of vectors suits a Space, measured on it."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itemspace.cli.ask import JSONOption, SpacePath
from itemspace.core.errors import RequestError

if TYPE_CHECKING:
    from itemspace.index.tuning import Tuned

index_app = typer.Typer(no_args_is_help=True, help="The index of a Space's vectors.")
_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


@index_app.command("tune")
def tune_index(
    space: SpacePath,
    recall: Annotated[float, typer.Option(help="The recall to reach, against exact answers.")] = 0.95,
    memory: Annotated[str | None, typer.Option(help="The memory it may need at full size, such as 2GB.")] = None,
    types: Annotated[
        str | None,
        typer.Option("--type", "--types", help="Only these indexes, separated by commas; default: all installed."),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="The cut-off of the recall.")] = 10,
    sample: Annotated[int | None, typer.Option(help="Vectors to measure on (default: at most 50,000).")] = None,
    seconds: Annotated[float, typer.Option(help="After which no further candidate is begun.")] = 600.0,
    apply: Annotated[
        bool, typer.Option("--apply", help="Build the index of the choice too, and switch to it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure and tell; write nothing.")] = False,
    as_json: JSONOption = False,
) -> None:
    """Measure the installed indexes on a sample of SPACE, choose the cheapest that reaches the recall within the memory,

    say why, and write the choice to the Space's recipe. Exits with 1 where nothing suffices.
    """
    from itemspace.cli.render import print_json
    from itemspace.cli.sources import id_list
    from itemspace.space import Space

    if apply and dry_run:
        raise RequestError("--apply builds and --dry-run writes nothing: give one of them.")
    with Space.open(space) as opened:
        made = opened.tune_index(
            recall=recall,
            memory=size_of(memory),
            k=k,
            types=id_list(types) or None,
            sample=sample,
            seconds=seconds,
            apply=apply,
            write=not dry_run,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    if as_json:
        print_json(made.to_json())
    else:
        print(table(made.tuned))
        for line in made.tuned.lines():
            print(line)
        if made.reached is not None:
            print(f"Built: generation {made.generation} answers with it, recall {made.reached:.3f} at full size.")
        elif made.generation:
            print(f"Written to the recipe (generation {made.generation}). `--apply` builds the index of it.")
    if made.tuned.choice is None:
        raise typer.Exit(1)


def size_of(text: str | None) -> float:
    """Bytes of "2GB", "512 MiB", "1e9"; infinity for None.

    Raises:
        RequestError: it says no size.
    """
    if text is None:
        return float("inf")
    found = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?i?)b?(?:ytes)?\s*", text.lower())
    try:
        assert found is not None
        size = float(found[1]) * _UNITS[found[2]]
    except (AssertionError, KeyError, ValueError):
        raise RequestError(f'--memory is a size such as 2GB or 512MiB, got "{text}".') from None
    if not size > 0:
        raise RequestError(f'--memory is a size above 0, got "{text}".')
    return size


def table(tuned: Tuned) -> str:
    """What was tried, cheapest first, with why not."""
    import io

    from rich.console import Console

    from itemspace.index.tuning import bytes_told

    columns = ("index", "setting", "recall", "CPU us/query", "in a batch", "memory", "on disk", "build CPU s", "")
    rows: list[tuple[Any, ...]] = []
    for trial in sorted(tuned.trials, key=lambda t: (bool(t.why), t.cpu_us)):
        rows.append(
            (
                trial.candidate.name,
                ", ".join(f"{key}={value:g}" for key, value in trial.setting.items()),
                f"{trial.recall:.3f}",
                f"{trial.cpu_us:,.0f}",
                f"{trial.batch_us:,.0f}",
                bytes_told(trial.memory),
                bytes_told(trial.disk),
                f"{trial.build_s:,.1f}",
                "chosen" if trial is tuned.choice else trial.why,
            )
        )
    out = io.StringIO()
    console = Console(file=out, width=140, highlight=False)
    console.print(_grid(f"{tuned.size:,} vectors, measured on {tuned.sample:,} with {tuned.queries}", columns, rows))
    for name, why in tuned.left_out.items():
        console.print(f"{name}: not tried, {why}", markup=False)
    return out.getvalue().rstrip()


def _grid(title: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for i, name in enumerate(columns):
        grid.add_column(name, justify="left" if i in (0, 1, len(columns) - 1) else "right")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    return grid
