"""`Ids`: the two-way map between the user's identifiers and itemspace's rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.errors import DataError, RequestError, nearest, shown
from itemspace.core.hashing import ROW_ORDER_SALT, TIE_SALT, hash_strings, splitmix64


class Ids:
    """External IDs in row order: `ids[row]` is what the user calls the item (or user) at `row`.

    Rows are `int32`. `Ids.permuted` assigns them by a seeded hash of the ID, so they carry nothing about file order:
    integer IDs of published files are minted in user order and leak the test item. IDs added later are appended.
    Lookup is by a sorted array of 64-bit hashes, verified against the strings, and never grows a Python dict.
    """

    def __init__(self, values: Sequence[str] | pa.Array | pa.ChunkedArray, *, kind: str = "item") -> None:
        array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        if not isinstance(array, pa.Array):
            array = pa.array(list(array), pa.large_string())
        self.values: pa.Array = array.cast(pa.large_string())
        self.kind = kind
        if self.values.null_count:
            row = int(np.flatnonzero(np.asarray(self.values.is_null()))[0])
            raise DataError(f"the {kind} ID is missing", row=row + 1, hint="Give every row an ID.")

    @classmethod
    def permuted(cls, values: Sequence[str] | pa.Array | pa.ChunkedArray, *, seed: int = 0, kind: str = "item") -> Ids:
        """The distinct IDs of `values`, in the order of a seeded hash of each ID (independent of the input's order)."""
        array = pa.array(values, pa.large_string()) if not isinstance(values, (pa.Array, pa.ChunkedArray)) else values
        unique = array.cast(pa.large_string()).unique().drop_null()
        return cls(unique.take(pa.array(cls.order(unique, seed=seed))), kind=kind)

    @staticmethod
    def order(values: Sequence[str] | pa.Array, *, seed: int = 0) -> np.ndarray:
        """The seeded permutation [n] that `permuted` sorts `values` by."""
        hashes = hash_strings(values, salt=ROW_ORDER_SALT)
        mixed = splitmix64(hashes ^ splitmix64(np.array([seed], np.uint64)))
        return np.argsort(mixed, kind="stable")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> str:
        return self.values[int(row)].as_py()

    def __contains__(self, external: object) -> bool:
        return isinstance(external, str) and int(self.find([external])[0]) >= 0

    def __repr__(self) -> str:
        return f"Ids({len(self):,} {self.kind}s)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ids) and self.values.equals(other.values)

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def _lookup(self) -> tuple[np.ndarray, np.ndarray]:
        hashes = hash_strings(self.values)
        order = np.argsort(hashes, kind="stable")
        return hashes[order], order.astype(np.int32)

    @cached_property
    def ties(self) -> np.ndarray:
        """A uint32 per row, a hash of the ID: the order among equal scores (lower comes first)."""
        return (hash_strings(self.values, salt=TIE_SALT) >> np.uint64(32)).astype(np.uint32)

    def find(self, externals: Sequence[str] | pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Rows [n] of external IDs; -1 where an ID is unknown."""
        if isinstance(externals, pa.ChunkedArray):
            externals = externals.combine_chunks()
        if not isinstance(externals, pa.Array):
            externals = _texts([str(e) for e in externals])
        wanted = externals.cast(pa.large_string())
        if len(wanted) == 0 or len(self) == 0:
            return np.full(len(wanted), -1, np.int32)
        sorted_hashes, order = self._lookup
        hashes = hash_strings(wanted)
        at = np.minimum(np.searchsorted(sorted_hashes, hashes), len(order) - 1)
        rows = np.where(sorted_hashes[at] == hashes, order[at], -1).astype(np.int32)
        hit = np.flatnonzero(rows >= 0)
        if len(hit):
            # Verify the strings: a 64-bit collision must read as unknown, never as another item.
            found = self.values.take(pa.array(rows[hit]))
            same = np.asarray(pc.equal(found, wanted.take(pa.array(hit))).fill_null(False))
            rows[hit[~same]] = -1
        return rows

    def rows(self, externals: Sequence[str] | pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Rows [n] of external IDs.

        Raises:
            RequestError: an ID is unknown; the message names it and the nearest known one.
        """
        rows = self.find(externals)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            first = list(externals)[int(missing[0])]
            first = str(first.as_py() if isinstance(first, pa.Scalar) else first)
            known = self.values[:50_000].to_pylist() if len(self) <= 50_000 and len(first) < 200 else []
            count = f" ({len(missing):,} IDs are unknown)" if len(missing) > 1 else ""
            hint = nearest(first, known) or " Check the spelling; upper and lower case differ."
            raise RequestError(f'unknown {self.kind} "{shown(first)}"{count}.{hint}')
        return rows

    def decode(self, rows: Iterable[int] | np.ndarray) -> list[str | None]:
        """External IDs of rows; None for -1."""
        at = np.asarray(rows, np.int64).reshape(-1)
        return self.values.take(pa.array(at, mask=at < 0)).to_pylist()

    def extended(self, new: Sequence[str] | pa.Array) -> Ids:
        """These IDs followed by `new` ones (rows continue). `new` must not repeat known IDs."""
        tail = new if isinstance(new, pa.Array) else pa.array([str(x) for x in new], pa.large_string())
        return Ids(pa.concat_arrays([self.values, tail.cast(pa.large_string())]), kind=self.kind)

    def duplicates(self) -> list[tuple[int, int]]:
        """Pairs of rows (first, later) that hold the same ID; empty for a proper vocabulary."""
        _, first, inverse = np.unique(hash_strings(self.values), return_index=True, return_inverse=True)
        later = np.flatnonzero(first[inverse] != np.arange(len(self)))
        pairs: list[tuple[int, int]] = []
        for row in later.tolist():  # only the offending rows
            one = int(first[inverse[row]])
            if self[one] == self[row]:
                pairs.append((one, row))
        return pairs


def _texts(values: list[str]) -> pa.Array:
    """Texts as an array; null where a text is no valid Unicode, which no ID can be: no file could hold it."""
    try:
        return pa.array(values, pa.large_string())
    except UnicodeEncodeError:
        whole = [value.encode("utf-8", "replace").decode("utf-8") == value for value in values]
        return pa.array([v if ok else None for v, ok in zip(values, whole, strict=True)], pa.large_string())


def string_ids(values: Any, *, column: str | None = None) -> pa.Array:
    """Whatever an ID column holds (integers, strings, dictionaries) as large strings, the external form. NaN is missing.

    Raises:
        DataError: a value is neither text nor a whole number; names `column` where it is given.
    """
    if not isinstance(values, (pa.Array, pa.ChunkedArray)):
        try:
            values = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError, OverflowError):
            values = _texts([str(value) for value in values])
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_floating(kind):
        # "17.0" is what a nullable integer column becomes; a fraction is no ID.
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, kind), array)
        broken = np.flatnonzero(np.asarray(pc.not_equal(pc.floor(array), array).fill_null(False)) | ~_int64(array))
        if len(broken):
            row = int(broken[0])
            raise DataError(
                f"{array[row].as_py()} is not an ID: IDs are text or whole numbers.",
                row=row + 1,
                column=column,
                count=len(broken),
            )
        array = array.cast(pa.int64())
    if pa.types.is_boolean(kind) or pa.types.is_nested(kind):
        raise DataError(f"values of type {kind} are not IDs: IDs are text or whole numbers.", column=column)
    try:
        return array.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(f"values of type {kind} are not IDs: IDs are text or whole numbers.", column=column) from None


def _int64(values: pa.Array) -> np.ndarray:
    """Where floats lie in the range of 64-bit integers (null does) [n]."""
    return np.asarray(pc.less(pc.abs(values.cast(pa.float64())), 2.0**63).fill_null(True))
