"""`leaderboard`: run files checked, and the page of those that are sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from itemspace.cli.ask import JSONOption

leaderboard_app = typer.Typer(no_args_is_help=True, help="Run files: check them, and compare them on one page.")
DataOption = Annotated[str, typer.Option("--data", help="The dataset's folder, or its name under ITEMSPACE_DATA.")]
SHOWN = 20
"""Problems of a run that are printed."""


@leaderboard_app.command("validate")
def validate(
    run: Annotated[Path, typer.Argument(help="A run file in TREC's format, possibly gzipped.")],
    data: DataOption,
    depth: Annotated[int, typer.Option(help="The most documents a query may have.", min=1)] = 1000,
    as_json: JSONOption = False,
) -> None:
    """Say everything that is wrong with RUN, by line; exit with 1 where something is."""
    from itemspace.cli.render import print_json
    from itemspace.core.dataset import Dataset
    from itemspace.evaluate.leaderboard import METRICS, evaluate_run
    from itemspace.evaluate.run_checks import validate_run

    dataset = Dataset.read(data)
    check = validate_run(run, dataset, depth=depth)
    values = {}
    if check.sound and dataset.judgments is not None:
        found = evaluate_run(run, dataset)
        values = {metric: found[metric] for metric in METRICS}
    if as_json:
        print_json({**check.to_json(), "values": values})
    else:
        for problem in check.problems[:SHOWN]:
            print(problem)
        if len(check.problems) > SHOWN:
            print(f"... and {len(check.problems) - SHOWN:,} more")
        told = "sound" if check.sound else f"refused: {len(check.problems):,} problems"
        print(f'{check.file}: {told}; tag "{check.tag}", {check.lines:,} lines, {check.queries:,} queries')
        for note in check.notes:
            print(f"  {note}")
        if values:
            print("  " + ", ".join(f"{metric} {value:.4f}" for metric, value in values.items()))
    if not check.sound:
        raise typer.Exit(1)


@leaderboard_app.command("page")
def page(
    runs: Annotated[Path, typer.Argument(help="A folder of runs: RUNS/DATASET/TAG.run.")],
    data: Annotated[list[str], typer.Option("--data", help="A dataset, named like its folder of runs. Repeatable.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write the page (Markdown).")] = None,
    baseline: Annotated[str, typer.Option(help="The tag that effects are measured against.")] = "bm25-flat",
    as_json: JSONOption = False,
) -> None:
    """Validate and score every run, and write the leaderboard; refused runs are named with what is wrong."""
    from itemspace.cli.render import print_json
    from itemspace.core.dataset import Dataset
    from itemspace.evaluate.leaderboard import board_page, find_runs, make_board

    datasets = {Path(name).name: Dataset.read(name) for name in data}
    board = make_board(find_runs(runs), datasets, baseline=baseline)
    if as_json:
        print_json(board.to_json())
    elif output is None:
        print(board_page(board), end="")
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(board_page(board), encoding="utf-8")
        if not as_json:
            print(f"Wrote {output}: {len(board.entries):,} runs, {len(board.refused):,} refused")
