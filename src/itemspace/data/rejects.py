"""Bad rows: refused with a message a person can act on, or set aside in a file; never dropped in silence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from itemspace.core.errors import DataError

SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("column", pa.string()),
        ("value", pa.string()),
        ("problem", pa.string()),
    ]
)
"""Columns of a rejects file. `row` counts records from 1, a header line not counted."""

_SHOWN = 60


class Rejects:
    """Where bad rows go: an error naming the first one (no `path`), or the file at `path` (.parquet or .csv).

    The file is written by `close`, whole, also when it is empty, so that its absence always means "not finished".
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._parts: list[pa.Table] = []
        if self.path is not None and self.path.suffix not in (".parquet", ".csv"):
            raise DataError(
                f'"{self.path.name}" cannot hold rejected rows.',
                hint="Name a .parquet or .csv file: --rejects rejects.parquet.",
            )

    @classmethod
    def ignored(cls) -> Rejects:
        """One that collects and never writes, for a second pass over rows whose problems are recorded already."""
        return cls("ignored.csv")

    def __len__(self) -> int:
        """Problems set aside so far (one row with two bad columns counts twice)."""
        return sum(part.num_rows for part in self._parts)

    def add(
        self, file: str, rows: np.ndarray, column: str, values: Sequence[Any], problem: str, *, hint: str | None = None
    ) -> None:
        """Set rows aside, or refuse them.

        rows: record numbers from 1 [n]. values: what was found there [n]. problem: what is wrong with it, `{value}`
        standing for the value. hint: another way out than setting aside, without its final full stop.

        Raises:
            DataError: there is no rejects file; names the first row and counts the rest.
        """
        if len(rows) == 0:
            return
        texts = ["" if value is None else str(value) for value in values]
        if self.path is None:
            first = int(np.argmin(rows))
            them = "them" if len(rows) > 1 else "it"
            aside = f"et {them} aside with --rejects rejects.parquet."
            raise DataError(
                _explain(problem, texts[first]) + ".",
                file=file,
                row=int(rows[first]),
                column=column or None,
                count=len(rows),
                hint=f"{hint}, or s{aside}" if hint else f"S{aside}",
            )
        problems = [_explain(problem, text) for text in texts]
        n = len(texts)
        self._parts.append(
            pa.table([[file] * n, np.asarray(rows, np.int64), [column] * n, texts, problems], schema=SCHEMA)
        )

    def restore(self, table: pa.Table) -> None:
        """Take over what an earlier reading of the same files set aside (a `table`)."""
        if table.num_rows:
            self._parts.append(table)

    def table(self) -> pa.Table:
        """Everything set aside so far, by file and row."""
        if not self._parts:
            return SCHEMA.empty_table()
        return pa.concat_tables(self._parts).sort_by([("file", "ascending"), ("row", "ascending")])

    def close(self) -> None:
        """Write the rejects file, if one was asked for."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        if self.path.suffix == ".csv":
            pa.csv.write_csv(self.table(), partial)
        else:
            pa.parquet.write_table(self.table(), partial)
        partial.replace(self.path)


def _explain(problem: str, value: str) -> str:
    shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    return problem.replace("{value}", shown)
