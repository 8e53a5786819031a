"""A `Description` on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from itemspace.data.describe import Description, Timeline

_BARS = " ▁▂▃▄▅▆▇█"
_MOST_COLUMNS = 30


def rendered(found: Description) -> Any:
    """Everything `found` says, as rich tables and lines."""
    parts: list[Any] = [Text(f"{found.name}  ({found.source.get('reader', 'made in memory')})", style="bold")]
    parts.append(_pairs({**found.counts, **found.duplicates}))
    parts.append(_columns(found))
    if found.per_user:
        parts.append(_spread({"per user": found.per_user, "per item": found.per_item}))
        parts.append(_pairs(found.cold))
    if found.timeline is not None:
        parts.append(_timeline(found.timeline))
    elif found.per_user:
        parts.append(Text("order: the file's (no times)"))
    clicks = {k: v for k, v in found.measures.items() if k.startswith("clicks_at_")}
    if clicks:
        parts.append(Text("clicked at position 0, 1, ...: " + " ".join(f"{v:.3f}" for v in clicks.values())))
    parts += [Text(f"note: {note}", style="dim") for note in found.source.get("notes", ())]
    rejected = found.source.get("rejected", 0)
    if rejected:
        parts.append(Text(f"{rejected:,} problems were set aside in the rejects file.", style="yellow"))
    parts += [Text(f"! {warning}", style="yellow") for warning in found.warnings]
    return Group(*parts)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}" if value < 1 else f"{value:,.1f}"


def _pairs(values: Mapping[str, float]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in values.items():
        table.add_row(Text(name), Text(_number(value), justify="right"))
    return table


def _columns(found: Description) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    # On a narrow terminal the example gives way first, then the reason.
    for heading, least, most in (("column", 10, 24), ("kind", 8, 8), ("because", 12, 32)):
        table.add_column(heading, no_wrap=True, min_width=least, max_width=most, overflow="ellipsis")
    for heading in ("missing", "distinct"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=8)
    table.add_column("example", no_wrap=True, overflow="ellipsis", max_width=60)
    for column in found.columns[:_MOST_COLUMNS]:
        distinct = "" if column.distinct is None else f"{column.distinct:,}"
        cells = (column.name, column.kind, column.reason, f"{column.missing:,}", distinct, column.example)
        table.add_row(*(Text(cell.replace("\n", " ")) for cell in cells))
    if len(found.columns) > _MOST_COLUMNS:
        table.add_row(Text(f"and {len(found.columns) - _MOST_COLUMNS:,} more"))
    return table


def _spread(rows: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("events")
    for name in next(iter(rows.values())):
        table.add_column(name, justify="right")
    for label, values in rows.items():
        table.add_row(label, *(_number(v) for v in values.values()))
    return table


def _timeline(line: Timeline) -> Text:
    most = max(count for _, count in line.months)
    bars = "".join(_BARS[1 + int(7 * count / most)] for _, count in line.months[-100:])
    return Text(f"from {line.first} to {line.last}, {len(line.months):,} months with events\n{bars}")
