"""Answers as tables a person reads, or JSON a program does."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itemspace.core.hits import Hits
    from itemspace.space import Space


GAP = "  "
MOST_WIDE, LEAST_WIDE = 24, 12
"""Most characters of a short column, least of a long one."""


def print_json(value: Any) -> None:
    """Write `value` as JSON on stdout; numbers JSON has no form for become null."""
    json.dump(_plain(value), sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


def hits_json(space: Space, hits: Hits, *, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """One dictionary per request: its hits with the shown columns, total, facets and explanation."""
    shown = list(columns) if columns else space.shown_columns()
    out = []
    for request in range(len(hits)):
        found = hits[request]
        fields = space.fields([hit.row for hit in found], shown)
        entry: dict[str, Any] = {
            "hits": [
                {"rank": hit.rank + 1, "item": hit.item, "score": hit.score, **values}
                for hit, values in zip(found, fields, strict=True)
            ]
        }
        if hits.total is not None and int(hits.total[request]) >= 0:
            entry["total"] = int(hits.total[request])
        if hits.facets is not None:
            entry["facets"] = dict(hits.facets[request])
        if hits.explanation is not None:
            entry["explanation"] = hits.explanation
        out.append(entry)
    return out


def print_hits(
    space: Space, hits: Hits, *, columns: Sequence[str] | None = None, title: str = "", totals: bool = True
) -> None:
    """A table per request, then facets and explanation where they were asked for. totals: say how many match at all."""
    from rich.console import Console

    console = Console(highlight=False)
    for entry in hits_json(space, hits, columns=columns):
        rows = entry["hits"]
        if not rows:
            console.print("Nothing matches. Loosen the filter, or look at the values with --facet COLUMN.")
        else:
            total = f" of {entry['total']:,}" if totals and "total" in entry else ""
            console.print(
                f"{title} ({len(rows)}{total})" if title else f"{len(rows)}{total}", style="bold", markup=False
            )
            console.print(
                _hits_table(space, rows, width=console.width, all_columns=columns is not None or console.width >= 100)
            )
        for column, counts in entry.get("facets", {}).items():
            told = ", ".join(f"{value} {count:,}" for value, count in dict(counts).items())
            console.print(f"[bold]{column}[/bold]: ", told)
        if "explanation" in entry:
            print_explanation(entry["explanation"])


def _hits_table(space: Space, rows: list[dict[str, Any]], *, width: int, all_columns: bool) -> Any:
    """One line per hit; on a narrow screen the words of an item keep the room that its categories would take."""
    from rich.table import Table
    from rich.text import Text

    schema = space.catalog.schema
    kinds = {name: schema[name] for name in rows[0] if name not in ("rank", "item", "score")}
    names = [name for name, kind in kinds.items() if all_columns or kind not in ("category", "list")]
    cells = {"#": [str(row["rank"]) for row in rows], "item": [row["item"] for row in rows]}
    cells |= {name.replace("_", " "): _cells([row[name] for row in rows]) for name in names}
    cells["score"] = [f"{row['score']:.3f}" for row in rows]
    long = {name.replace("_", " ") for name in names if kinds[name] == "text"}
    right = {"#", "score", *(name.replace("_", " ") for name in names if kinds[name] == "number")}
    widths = {name: max(len(name), *map(len, column)) for name, column in cells.items()}
    short = {name: min(wide, MOST_WIDE) for name, wide in widths.items() if name not in long}
    # Long texts share what the others leave, so that no number is cut off.
    room = (width - sum(short.values()) - len(GAP) * len(cells)) // max(len(long), 1)
    table = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), header_style="dim")
    for name in cells:
        wide = min(widths[name], max(room, LEAST_WIDE)) if name in long else short[name]
        side = "right" if name in right else "left"
        table.add_column(Text(name), justify=side, no_wrap=True, overflow="ellipsis", width=wide)  # type: ignore[arg-type]
    for line in zip(*cells.values(), strict=True):
        table.add_row(*[Text(cell) for cell in line])
    return table


def print_explanation(explanation: Any, indent: int = 0) -> None:
    """Nested explanations, one line per step; what is empty is left out, what is short stays on one line."""
    from rich.console import Console

    console = Console(highlight=False)
    for line in _told(explanation, indent):
        console.print(line, markup=False, soft_wrap=True)


def _told(value: Any, indent: int = 0) -> Iterator[str]:
    pad = "  " * indent
    if isinstance(value, dict):
        for key, part in value.items():
            if isinstance(part, (dict, list, tuple)):
                inside = list(_told(part, indent + 1))
                short = f"{pad}{key}: {inside[0].strip()}" if len(inside) == 1 else ""
                yield from [short] if 0 < len(short) <= 80 else [f"{pad}{key}:", *inside] if inside else []
            else:
                yield f"{pad}{key}: {_cell(part)}"
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _reason(part, indent) if isinstance(part, dict) and set(part) == REASON else _told(part, indent)
    else:
        yield from (f"{pad}{line}" for line in _cell(value).splitlines())


REASON = {"item", "because"}
"""The keys of why one item was recommended."""


def _reason(told: dict[str, Any], indent: int) -> Iterator[str]:
    """One recommended item: what in the history spoke for it, the strongest first."""
    parts = [f"{part['history item']} (+{_cell(part['added'])})" for part in told["because"]]
    yield "  " * indent + f"{told['item']}: {', '.join(parts) or 'it is popular'}"


def _cells(values: list[Any]) -> list[str]:
    """One column; amounts of money and the like with two decimals throughout."""
    if all(v is None or (isinstance(v, float) and abs(v) < 1e9 and round(v, 2) == v) for v in values):
        return ["" if v is None else f"{v:,.2f}" for v in values]
    return [_cell(v) for v in values]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(v) for v in value)
    return str(value)
