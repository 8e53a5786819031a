"""Fill the tables of docs/guide/scale.md from the figures under docs/benchmarks: `python benchmarks/scale_page.py`.

The page's words are written by hand; what stands between `<!-- NAME -->` and `<!-- end -->` is computed here, so that the plan
follows the measurements. A cost that was not measured has no row.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness import HOME, RESULTS
from speed_page import number

PAGE = HOME / "docs" / "guide" / "scale.md"
GOAL = 1_000_000_000
CORES, MEMORY_GB, SHARE = 16, 128, 0.6
"""The machine the plan reckons with, and the part of its memory that an index may take."""
DAY = 86_400.0

Table = tuple[list[str], list[list[Any]]]


class Figures:
    """Published results by name, read when asked for."""

    def __init__(self, folder: Path = RESULTS) -> None:
        self.folder = folder

    def result(self, name: str) -> dict[str, Any] | None:
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def tables(self, name: str, begins: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Title and rows, as dictionaries, of the tables whose title begins so; none where it was not measured."""
        for table in (self.result(name) or {"tables": []})["tables"]:
            if table["title"].startswith(begins):
                yield table["title"], [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]

    def table(self, name: str, begins: str) -> list[dict[str, Any]]:
        """The rows of the first of `tables`."""
        return next((rows for _, rows in self.tables(name, begins)), [])


def power(rows: list[dict[str, Any]], of: str, by: str = "items") -> float:
    """The exponent of a cost between the two largest sizes it was measured at."""
    small, large = rows[-2], rows[-1]
    return math.log(large[of] / small[of]) / math.log(large[by] / small[by])


def days(seconds: float) -> str:
    """Time on one core, in the unit a person plans with."""
    if seconds < 7_200:
        return f"{seconds / 60:,.0f} minutes"
    return f"{seconds / 3_600:,.1f} hours" if seconds < 2 * DAY else f"{seconds / DAY:,.1f} days"


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1_000:
            return f"{count:,.0f} {unit}"
        count /= 1_000
    return f"{count:,.2f} TB"


def units(figures: Figures) -> Table:
    """What one item, vector or user costs, and what a thousand million of them do."""
    rows: list[list[Any]] = []

    def per_item(part: str, at: str, seconds: float) -> None:
        rows.append(
            [part, at, f"{number(seconds * 1e6)} µs", f"{days(seconds * GOAL)}", f"{days(seconds * GOAL / CORES)}"]
        )

    for row in figures.table("encode", "2,000 Beauty titles"):
        if row["arm"] == "itemspace":
            per_item("encoding by all-MiniLM-L6-v2, a title", "2,000 titles", row["CPU ms per text"] / 1_000)
    for row in figures.table("encode", "200 longer texts"):
        if row["arm"] == "itemspace":
            per_item("the same, a long description", "200 texts", row["CPU ms per text"] / 1_000)
    for begins, part in {
        "encode, LSA": "encoding by LSA",
        "recommend": "20 recommendations by item-kNN, a user",
    }.items():
        for title, found in figures.tables("jobs", begins):
            at = title.partition(": ")[2].partition(" rows")[0] + " rows"
            per_item(f"{part}, in a job", at, found[-1]["CPU ms per row"] / 1_000)
    spent = figures.table("scale", "Where a build spends its seconds")
    parts = {
        "reading the files": "reading and assigning rows",
        "writing the store": "writing the store",
        "indexing words": "indexing words",
        "indexing vectors": "indexing vectors (HNSW, 256 dimensions)",
        "fitting the recommender": "fitting item-kNN, four events an item",
    }
    last = spent[-1] if spent else {}
    for column, part in parts.items():
        if column in last:
            per_item(part, f"{last['items']:,} items", last[column] / last["items"])
    return ["part", "measured at", "of one, CPU", f"of {GOAL:,}, one core", f"{CORES} cores"], rows


def growth(figures: Figures) -> Table:
    """How each cost of a whole Space grows, from its two largest sizes."""
    whole, spent = figures.table("scale", "Measured"), figures.table("scale", "Where a build spends its seconds")
    rows: list[list[Any]] = []
    for column, unit in (
        ("build", "s"),
        ("build peak MB", "MB"),
        ("disk MB", "MB"),
        ("serving MB", "MB"),
        ("open", "s"),
        ("search p50", "ms"),
        ("filtered search p50", "ms"),
        ("recommend p50", "ms"),
    ):
        if len(whole) > 1 and column in whole[-1]:
            last = whole[-1]
            rows.append([column.removesuffix(" MB"), f"{number(last[column])} {unit}", f"n^{power(whole, column):.2f}"])
    for column in (
        "encoding items",
        "writing the store",
        "indexing vectors",
        "indexing words",
        "fitting the recommender",
    ):
        if len(spent) > 1 and column in spent[-1]:
            rows.append([column, f"{number(spent[-1][column])} s", f"n^{power(spent, column):.2f}"])
    at = f"at {whole[-1]['items']:,} items" if whole else ""
    return ["cost", at, "grows as"], rows


def indexes(figures: Figures) -> Table:
    """Bytes, building and answering of every index measured at a million vectors, and at the goal if linear."""
    found = figures.table("ann", "Builds with two threads, synthetic")
    asked = {row["index"]: row for row in figures.table("ann", "Unfiltered search at recall .95, synthetic")}
    rows: list[list[Any]] = []
    for row in sorted(found, key=lambda row: row["on disk MB"]):
        bytes_each = row["on disk MB"] * 2**20 / 1_000_000
        answers = asked.get(row["index"])
        speed = answers["queries per CPU-s, batch 1,000"] if answers else None
        recall = answers["recall"] if answers else None
        rows.append(
            [
                row["index"],
                f"{bytes_each:,.0f}",
                size(bytes_each * GOAL),
                f"{row['CPU s']:,.1f} µs",
                days(row["CPU s"] / 1_000_000 * GOAL),
                number(speed),
                number(recall),
            ]
        )
    columns = [
        "index",
        "bytes a vector",
        f"{GOAL:,} of them",
        "to build, CPU of one",
        f"{GOAL:,}, one core",
        "queries per CPU-s at 1,000,000",
        "recall@10",
    ]
    return columns, rows


def shards(figures: Figures) -> Table:
    """How many machines hold a thousand million vectors in memory, and what a query costs over all of them."""
    whole = figures.table("scale", "Measured")
    spent = figures.table("scale", "Where a build spends its seconds")
    grows = power(whole, "search p50") if len(whole) > 1 else 1.0
    builds = power(spent, "indexing vectors") if len(spent) > 1 else 1.0
    asked = {row["index"]: row for row in figures.table("ann", "Unfiltered search at recall .95, synthetic")}
    rows: list[list[Any]] = []
    for row in sorted(figures.table("ann", "Builds with two threads, synthetic"), key=lambda row: row["on disk MB"]):
        answers = asked.get(row["index"])
        if answers is None:
            continue
        bytes_each = row["on disk MB"] * 2**20 / 1_000_000
        each = min(GOAL, int(MEMORY_GB * 1e9 * SHARE / bytes_each))
        machines = -(-GOAL // each)
        flat, million = "flat" in row["index"], each / 1_000_000
        one = million ** (1.0 if flat else grows) / answers["queries per CPU-s, batch 1,000"]
        built = row["CPU s"] * million ** (1.0 if flat else builds) / CORES
        rows.append(
            [
                row["index"],
                machines,
                f"{million:,.0f} million",
                days(built),
                f"{one * 1_000:,.2f} ms",
                number(CORES / one),
            ]
        )
    columns = [
        "index",
        "machines",
        "vectors on each",
        f"to build on its {CORES} cores",
        "CPU of a query on each",
        "queries/s of them all",
    ]
    return columns, rows


def first(figures: Figures) -> Table:
    """What one machine's Space runs out of, in order."""
    rows = figures.table("scale", "What it will be")
    order = sorted(rows, key=lambda row: row["items at which the budget is spent"])
    made = []
    for row in order:
        spent = row["items at which the budget is spent"]
        made.append(
            [row["cost"], number(row["budget"]), f"{spent / 1e6:,.0f} million items" if spent < GOAL else "beyond"]
        )
    return ["cost", "budget", "spent at about"], made


TABLES: dict[str, Callable[[Figures], Table]] = {
    "units": units,
    "growth": growth,
    "indexes": indexes,
    "shards": shards,
    "first": first,
}


def rendered(table: Table) -> Iterator[str]:
    """A table in Markdown."""
    columns, rows = table
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"


def filled(text: str, figures: Figures) -> str:
    """The page with every table made anew.

    Raises:
        KeyError: the page asks for a table there is not.
    """

    def one(found: re.Match[str]) -> str:
        lines = "\n".join(rendered(TABLES[found[1]](figures)))
        return f"<!-- {found[1]} -->\n{lines}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", one, text, flags=re.DOTALL)


def main() -> None:
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), Figures()), encoding="utf-8")
    print(f"{PAGE}: {len(TABLES)} tables")


if __name__ == "__main__":
    main()
