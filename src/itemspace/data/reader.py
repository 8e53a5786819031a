"""`Reader`, the contract of a format, and `Reading`, the circumstances of one read: policies, rejects, notes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.catalog import Catalog
from itemspace.core.config import Component, Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.ids import Ids, string_ids
from itemspace.core.interactions import Interactions
from itemspace.core.judgments import Judgments, Queries
from itemspace.core.schema import Schema
from itemspace.data.columns import unix_seconds
from itemspace.data.frame import Frame
from itemspace.data.rejects import Rejects

Duplicates = Literal["refuse", "first", "last"]
Unknown = Literal["refuse", "add"]


@dataclass
class Reading:
    """What holds for one read, and the checks every reader shares.

    kinds: column kinds the user states. columns: roles in the log the user states ({"user": "customer"}).
    duplicates: what becomes of a second row for an item. unknown: whether items that occur only in a log are refused
    or added to the catalogue with an ID and nothing else. None leaves the choice to the format.
    notes: what was assumed or adjusted, for `describe` and the manifest.
    """

    seed: int = 0
    kinds: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    duplicates: Duplicates | None = None
    unknown: Unknown | None = None
    decimal: str = "."
    rejects: Rejects = field(default_factory=Rejects)
    notes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def catalog(
        self, frame: Frame, *, kinds: Mapping[str, str] | None = None, duplicates: Duplicates = "refuse"
    ) -> Catalog:
        """The items in `frame`, one row each. `kinds` are the format's own; the user's override them.

        Missing and repeated IDs are rejected, or settled as `duplicates` says.
        """
        overrides = {**(kinds or {}), **self.kinds}
        stated = [name for name, kind in self.kinds.items() if kind == "id"]
        if stated:
            overrides = {n: k for n, k in overrides.items() if k != "id" or n in stated}
        known = {n: k for n, k in overrides.items() if n in frame or n in self.kinds}
        schema = Schema.infer(frame.table, overrides=known)
        stated_by_format = [n for n in known if n not in self.kinds]
        reasons = {n: "as the format says" if n in stated_by_format else r for n, r in schema.reasons.items()}
        schema = Schema(schema.kinds, reasons)
        frame = self.with_ids(frame, schema.id)
        frame = self.unique(frame, schema.id, self.duplicates or duplicates)
        if len(frame) == 0:
            raise DataError("no item is left.", file=frame.file)
        return Catalog.from_table(frame.table, schema=schema, seed=self.seed)

    def with_ids(self, frame: Frame, column: str) -> Frame:
        """`frame` with `column` as strings, rows without an ID rejected."""
        values = frame.column(column)
        if pa.types.is_floating(values.type):
            numbers = np.asarray(values.fill_null(0))
            odd = numbers != np.floor(numbers)
            shown = values.filter(pa.array(odd)).to_pylist()
            self.rejects.add(
                frame.file, frame.rows[odd], column, shown, "{value} is not an ID: IDs are text or whole numbers"
            )
            frame, values = frame.filter(~odd), values.filter(pa.array(~odd))
        elif pa.types.is_nested(values.type):
            raise DataError(f"{values.type} cannot be an ID.", file=frame.file, column=column)
        ids = string_ids(values)
        absent = np.asarray(
            pc.fill_null(pc.equal(pc.utf8_trim_whitespace(ids), ""), True).to_numpy(zero_copy_only=False)
        )
        self.rejects.add(frame.file, frame.rows[absent], column, [""] * int(absent.sum()), "the ID is missing")
        return frame.with_column(column, ids).filter(~absent)

    def unique(self, frame: Frame, column: str, policy: Duplicates) -> Frame:
        """One row per ID; the others rejected, or left out with a note that counts them."""
        codes = np.asarray(frame.column(column).dictionary_encode().indices)
        if policy == "last":
            _, kept = np.unique(codes[::-1], return_index=True)
            kept = len(codes) - 1 - kept
        else:
            _, kept = np.unique(codes, return_index=True)
        again = np.ones(len(codes), bool)
        again[kept] = False
        if not again.any():
            return frame
        if policy == "refuse":
            shown = frame.column(column).filter(pa.array(again)).to_pylist()
            self.rejects.add(
                frame.file,
                frame.rows[again],
                column,
                shown,
                'the ID "{value}" occurs a second time',
                hint='Pass duplicates="last" (--duplicates last) to keep one row per item',
            )
        else:
            count = int(again.sum())
            repeat = "row repeats" if count == 1 else "rows repeat"
            self.notes.append(f"{frame.file}: {count:,} {repeat} an ID; the {policy} row of each was kept")
        return frame.filter(~again)

    def with_unknown(
        self, catalog: Catalog, frame: Frame, column: str, *, unknown: Unknown = "refuse"
    ) -> tuple[Catalog, Frame]:
        """A log whose `column` names items: the rows of unknown items rejected, or the items added to the catalogue."""
        ids = frame.column(column)
        strange = catalog.ids.find(ids) < 0
        if not strange.any():
            return catalog, frame
        if (self.unknown or unknown) == "refuse":
            shown = ids.filter(pa.array(strange)).to_pylist()
            self.rejects.add(
                frame.file,
                frame.rows[strange],
                column,
                shown,
                '"{value}" is not a known item',
                hint='Add it to the catalogue, pass unknown="add" (--unknown add)',
            )
            return catalog, frame.filter(~strange)
        new = ids.filter(pa.array(strange)).unique()
        are = "item is" if len(new) == 1 else "items are"
        self.notes.append(f"{frame.file}: {len(new):,} {are} not in the catalogue file; added with an ID only")
        return extended(catalog, new, seed=self.seed), frame

    def interactions(
        self,
        frame: Frame,
        catalog: Catalog,
        *,
        user: str = "user",
        item: str = "item",
        time: str | None = None,
        weight: str | None = None,
        event: str | None = None,
        session: str | None = None,
        unknown: Unknown = "refuse",
        users: Ids | None = None,
        allow_empty: bool = False,
    ) -> tuple[Catalog, Interactions]:
        """The events in `frame`, columns named by role. Returns the catalogue too: it may have gained items.

        users: the user vocabulary, where it is known. allow_empty: whether no event at all is an answer.
        """
        catalog, frame, times = self.usable_events(
            frame, catalog, user=user, item=item, time=time, weight=weight, unknown=unknown
        )
        if len(frame) == 0 and not allow_empty:
            raise DataError("no event is left.", file=frame.file)
        sessions = None
        if session is not None:
            sessions = np.asarray(string_ids(frame.column(session)).dictionary_encode().indices.fill_null(-1), np.int32)
        made = Interactions.from_columns(
            frame.column(user),
            frame.column(item),
            items=catalog.ids,
            users=users,
            time=times,
            weight=None if weight is None else np.asarray(frame.column(weight), np.float32),
            event=None if event is None else string_ids(frame.column(event)).fill_null("event"),
            session=sessions,
            seed=self.seed,
            file=frame.file,
        )
        return catalog, made

    def usable_events(
        self,
        frame: Frame,
        catalog: Catalog,
        *,
        user: str,
        item: str,
        time: str | None = None,
        weight: str | None = None,
        unknown: Unknown = "refuse",
    ) -> tuple[Catalog, Frame, np.ndarray | None]:
        """The rows of `frame` that can be events, with their Unix seconds [n]; the others rejected.

        The catalogue comes back too: it may have gained items.
        """
        frame = self.with_ids(self.with_ids(frame, user), item)
        frame, times = self.times(frame, time)
        if weight is not None:
            frame = self.numbers(frame, weight)
            times = times if time is None else self.times(frame, time, quiet=True)[1]
        catalog, kept = self.with_unknown(catalog, frame, item, unknown=unknown)
        if len(kept) < len(frame) and times is not None:
            times = times[np.isin(frame.rows, kept.rows)]
        return catalog, kept, times

    def times(self, frame: Frame, column: str | None, *, quiet: bool = False) -> tuple[Frame, np.ndarray | None]:
        """`column` as Unix seconds, rows without a usable time rejected."""
        if column is None:
            return frame, None
        values = frame.column(column)
        seconds, problems, note = unix_seconds(values)
        bad = np.zeros(len(frame), bool)
        for wrong, problem, hint in problems:
            wrong = wrong & ~bad
            self.rejects.add(
                frame.file, frame.rows[wrong], column, values.filter(pa.array(wrong)).to_pylist(), problem, hint=hint
            )
            bad |= wrong
        if note and not quiet:
            self.notes.append(f"{frame.file}, {column}: {note}")
        return frame.filter(~bad), seconds[~bad]

    def numbers(self, frame: Frame, column: str) -> Frame:
        """`frame` with `column` as finite numbers; rows where it is missing or infinite are rejected."""
        values = frame.column(column)
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            from itemspace.data.files import typed

            frame = typed(frame, self.rejects, decimal=self.decimal, kinds={column: "number"},
                          keep=[n for n in frame.names if n != column])  # fmt: skip
            values = frame.column(column)
        numbers = values.cast(pa.float64())
        bad = ~np.isfinite(np.asarray(numbers.fill_null(np.nan)))
        self.rejects.add(
            frame.file,
            frame.rows[bad],
            column,
            values.filter(pa.array(bad)).to_pylist(),
            "the number is missing or not finite",
        )
        return frame.with_column(column, numbers).filter(~bad)

    def judgments(
        self, frame: Frame, catalog: Catalog, queries: Queries, *, query: str, item: str, grade: str | None,
        unknown: Unknown = "refuse",
    ) -> tuple[Catalog, Judgments]:  # fmt: skip
        """The judged pairs in `frame`; pairs whose query or item nobody knows are rejected."""
        frame = self.with_ids(self.with_ids(frame, query), item)
        if grade is not None:
            frame = self.numbers(frame, grade)
        rows = queries.ids.find(frame.column(query))
        strange = rows < 0
        self.rejects.add(
            frame.file, frame.rows[strange], query, frame.column(query).filter(pa.array(strange)).to_pylist(),
            '"{value}" is not a known query',
        )  # fmt: skip
        catalog, frame = self.with_unknown(catalog, frame.filter(~strange), item, unknown=unknown)
        rows = queries.ids.find(frame.column(query))
        grades = None if grade is None else np.asarray(frame.column(grade), np.float32)
        items = catalog.ids.find(frame.column(item))
        frame, keep = self.one_grade(frame, rows, items, grades, item)
        made = Judgments.from_pairs(rows[keep], items[keep], None if grades is None else grades[keep], len(queries))
        return catalog, made

    def one_grade(
        self, frame: Frame, query: np.ndarray, item: np.ndarray, grade: np.ndarray | None, column: str
    ) -> tuple[Frame, np.ndarray]:
        """Reject pairs graded a second time with another grade; which rows stay [n]."""
        keep = np.ones(len(frame), bool)
        if grade is None or len(frame) == 0:
            return frame, keep
        key = query.astype(np.int64) << 32 | item.astype(np.int64)
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        clash = grade != grade[first[inverse]]
        shown = [f"{grade[first[inverse[at]]]:g} and {grade[at]:g}" for at in np.flatnonzero(clash).tolist()]
        self.rejects.add(frame.file, frame.rows[clash], column, shown, "the pair is judged twice, {value}")
        return frame.filter(~clash), ~clash

    def dataset(self, path: Path, reader: str, catalog: Catalog, **parts: Any) -> Dataset:
        """The dataset, with where it came from."""
        source = {
            "reader": reader,
            "path": str(path),
            "files": sorted(set(self.files)),
            "notes": list(self.notes),
            "rejected": len(self.rejects),
            "seed": self.seed,
            **parts.pop("source", {}),
        }
        return Dataset(catalog, name=path.stem if path.is_file() else path.name, source=source, **parts)


def extended(catalog: Catalog, new: pa.Array, *, seed: int) -> Catalog:
    """`catalog` with items that have an ID and nothing else; rows are assigned anew, by the same seeded permutation."""
    table = catalog.table
    blank = pa.table([new.cast(f.type) if f.name == catalog.schema.id else pa.nulls(len(new), f.type) for f in table.schema],
                     schema=table.schema)  # fmt: skip
    return Catalog.from_table(pa.concat_tables([table, blank]), schema=catalog.schema, seed=seed)


def bare_catalog(ids: pa.Array, *, seed: int = 0, name: str = "item_id") -> Catalog:
    """The distinct `ids` as a catalogue with no other column."""
    vocabulary = Ids.permuted(ids, seed=seed)
    return Catalog(pa.table({name: vocabulary.values}), Schema({name: "id"}), vocabulary)


def queries_of(ids: Sequence[str], texts: Sequence[str], attributes: Mapping[str, np.ndarray] | None = None) -> Queries:
    return Queries(Ids(list(ids), kind="query"), tuple(texts), dict(attributes or {}))


class Reader(Component, ABC):
    """One published format. Its config holds the options only this format has; `Reading` carries those all share.

    A third-party reader is a class like this one under the entry point group `itemspace.readers`;
    `itemspace.testing.reader.ReaderContract` is the test it must pass.
    """

    config: Config
    name: ClassVar[str]
    looks_for: ClassVar[str]

    @classmethod
    @abstractmethod
    def matches(cls, path: Path) -> bool:
        """Whether `path` (a file or folder that exists) looks like this format; looks at names and first lines only."""

    @abstractmethod
    def read(self, path: Path, reading: Reading) -> Dataset:
        """Everything the format holds.

        Raises:
            DataError: a bad row, and `reading` has no rejects file; or a file the format needs is missing.
        """


def head(path: Path, size: int = 4096) -> bytes:
    """The first bytes of a file, unpacked when gzipped; empty when it cannot be read."""
    import gzip
    import zlib

    try:
        if path.suffix == ".gz":
            with gzip.open(path) as handle:
                return handle.read(size)
        with path.open("rb") as handle:
            return handle.read(size)
    except (OSError, EOFError, zlib.error):
        return b""


def one(path: Path, *patterns: str) -> Path | None:
    """The single file in folder `path` that one of the patterns matches (the first pattern that matches any wins).

    Raises:
        DataError: a pattern matches several files and nothing says which is meant.
    """
    for pattern in patterns:
        found = sorted(path.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(f.name for f in found[:5])
            raise DataError(f"{len(found)} files could be meant: {names}.", file=str(path), hint="Name one of them.")
    return None
