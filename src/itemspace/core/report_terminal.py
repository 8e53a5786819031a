"""A `Report` as tables for a terminal."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from typing import Any

from itemspace.core.report import ALL, Grid, Measure, Report, decimal, p_value, signed


def render(report: Report, *, width: int | None = None, color: bool = False) -> str:
    """The report as text, `width` columns wide (default: the terminal's, at most 140)."""
    from rich.console import Console
    from rich.text import Text

    width = width or min(140, shutil.get_terminal_size((110, 40)).columns)
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=color, no_color=not color, highlight=False)
    console.print(Text(report.title, style="bold"))
    if report.headline:
        console.print(Text(report.headline))
    for table in (_main(report), _comparisons(report), *_slices(report), *map(_grid, report.grids)):
        if table is not None:
            console.print(table)
    for note in report.notes:
        console.print(Text(f"note: {note}"))
    facts = "; ".join(f"{key} {_short(value)}" for key, value in report.provenance.items())
    if facts:
        console.print(Text(facts, style="dim"))
    return out.getvalue()


def headline(report: Report) -> str:
    """The sentence of `Report.headline`; empty when there is nothing to lead with."""
    if report.lead or not report.metrics:
        return report.lead
    first = report.metrics[0]
    ranked = sorted((m for m in report.measures if m.metric == first and m.slice == ALL), key=lambda m: -m.value)
    if not ranked:
        return ""
    best = ranked[0]
    told = (
        f"{best.arm} leads in {first} with {decimal(best.value)}"
        if len(ranked) > 1
        else f"{first} {decimal(best.value)}"
    )
    if best.low == best.low:
        told += f" [{decimal(best.low)}, {decimal(best.high)}]"
    compared = {c.arm: c for c in report.comparisons if (c.metric, c.slice) == (first, ALL)}
    # The baseline has no comparison of its own: the runner-up's tells how safe its lead is.
    rival = best.arm if best.arm in compared else ranked[1].arm if len(ranked) > 1 else ""
    if rival in compared:
        c = compared[rival]
        sure = "beyond chance" if c.significant else "not told apart from chance"
        whose = "" if rival == best.arm else f"{rival} "
        told += f", {whose}{signed(c.difference)} to {c.baseline} ({sure}, corrected p {p_value(c.p_holm)})"
    others = _other_leaders(report, first, best.arm)
    if len(ranked) > 1 and others:
        told += f". The judgments do not settle it: {others}"
    return told + "."


def _other_leaders(report: Report, metric: str, arm: str) -> str:
    """Which of the companions of an nDCG name another leader than `arm`."""
    told = []
    for other in ("bpref", f"judged-{metric}"):
        found = [m for m in report.measures if m.metric == other and m.slice == ALL]
        if metric.startswith("ndcg") and found:
            best = max(found, key=lambda m: m.value)
            if best.arm != arm:
                told.append(f"{other} is led by {best.arm} ({decimal(best.value)})")
    return " and ".join(told)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} {_short(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_short(v) for v in value)
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def _cell(m: Measure | None) -> str:
    if m is None:
        return ""
    interval = "" if m.low != m.low else f"\n[{decimal(m.low)}, {decimal(m.high)}]"
    return decimal(m.value) + interval


def _table(title: str) -> Any:
    from rich import box
    from rich.table import Table

    return Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)


def _main(report: Report) -> Any:
    from rich.text import Text

    found = {(m.arm, m.metric): m for m in report.measures if m.slice == ALL}
    if not found:
        return None
    table = _table("")
    table.add_column("")
    for arm in report.arms:
        table.add_column(Text(arm), justify="right")
    table.add_column("n", justify="right")
    for metric in report.metrics:
        row = [found.get((arm, metric)) for arm in report.arms]
        if any(row):
            n = max(m.n for m in row if m)
            table.add_row(Text(metric), *[Text(_cell(m)) for m in row], f"{n:,}")
    return table


def _comparisons(report: Report) -> Any:
    from rich.text import Text

    rows = [c for c in report.comparisons if c.slice == ALL]
    if not rows:
        return None
    table = _table(f"difference to {rows[0].baseline}")
    for name in ("arm", "metric", "difference", "95% interval", "p", "p (Holm)", "better / worse"):
        table.add_column(name, justify="left" if name in ("arm", "metric") else "right")
    for c in rows:
        mark = "bold" if c.significant else ""
        table.add_row(
            Text(c.arm),
            Text(c.metric),
            Text(signed(c.difference), style=mark),
            Text(f"[{decimal(c.low)}, {decimal(c.high)}]"),
            p_value(c.p_permutation),
            p_value(c.p_holm),
            f"{c.wins:,} / {c.losses:,}",
        )
    return table


def _slices(report: Report) -> list[Any]:
    from rich.text import Text

    tables = []
    metric = report.metrics[0] if report.metrics else ""
    for name, labels in report.slices.items():
        found = {(m.label, m.arm): m for m in report.measures if m.slice == name and m.metric == metric}
        if not found:
            continue
        table = _table(f"{metric} by {name}".replace("[", r"\["))
        table.add_column("")
        for arm in report.arms:
            table.add_column(Text(arm), justify="right")
        table.add_column("n", justify="right")
        for label in labels:
            row = [found.get((label, arm)) for arm in report.arms]
            n = max((m.n for m in row if m), default=0)
            table.add_row(Text(label), *[Text(_cell(m).replace("\n", " ")) for m in row], f"{n:,}")
        tables.append(table)
    return tables


def _grid(grid: Grid) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=grid.name, title_justify="left")
    table.add_column("")
    for name in grid.columns:
        table.add_column(Text(name), justify="right")
    for name, line in zip(grid.rows, grid.values, strict=True):
        table.add_row(Text(name), *(decimal(value, 3) for value in line))
    return table
