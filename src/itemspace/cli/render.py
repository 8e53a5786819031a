"""Answers as tables a person reads, or JSON a program does."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itemspace.core.hits import Hits
    from itemspace.space import Space


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


def print_hits(space: Space, hits: Hits, *, columns: Sequence[str] | None = None, title: str = "") -> None:
    """A table per request, then facets and explanation where they were asked for."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for entry in hits_json(space, hits, columns=columns):
        rows = entry["hits"]
        if not rows:
            console.print("Nothing matches. Loosen the filter, or look at the values with --facet COLUMN.")
        else:
            total = f" of {entry['total']:,}" if "total" in entry else ""
            table = Table(title=f"{title}  ({len(rows)}{total})", title_justify="left", pad_edge=False)
            table.add_column("#", justify="right")
            table.add_column("item", no_wrap=True)
            names = [name for name in rows[0] if name not in ("rank", "item", "score")]
            for name in names:
                table.add_column(name, overflow="ellipsis", no_wrap=name != "title", max_width=48)
            table.add_column("score", justify="right")
            for row in rows:
                cells = [_cell(row[name]) for name in names]
                table.add_row(str(row["rank"]), row["item"], *cells, f"{row['score']:.4f}")
            console.print(table)
        for column, counts in entry.get("facets", {}).items():
            told = ", ".join(f"{value} ({count:,})" for value, count in dict(counts).items())
            console.print(f"[bold]{column}[/bold]: ", told, highlight=False)
        if "explanation" in entry:
            print_explanation(entry["explanation"])


def print_explanation(explanation: Any, indent: int = 0) -> None:
    """Nested explanations, one line per step."""
    from rich.console import Console

    console = Console()
    pad = "  " * indent
    if isinstance(explanation, dict):
        for key, value in explanation.items():
            if isinstance(value, (dict, list, tuple)):
                console.print(f"{pad}{key}:", highlight=False, markup=False)
                print_explanation(value, indent + 1)
            else:
                console.print(f"{pad}{key}: {_cell(value)}", highlight=False, markup=False)
    elif isinstance(explanation, (list, tuple)):
        for value in explanation:
            print_explanation(value, indent)
    else:
        console.print(f"{pad}{_cell(explanation)}", highlight=False, markup=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(v) for v in value)
    return str(value)
