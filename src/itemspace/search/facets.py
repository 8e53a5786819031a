"""Facet counts over everything that matches: values of categories, lists and booleans, ranges of numbers and times."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.catalog import Catalog
from itemspace.core.errors import RequestError
from itemspace.core.ragged import Ragged
from itemspace.search.matching import Matching

COUNTABLE = ("category", "list", "boolean", "number", "time")


@dataclass(frozen=True)
class FacetRequest:
    """Which columns to count, and how much of each to tell.

    size: the most frequent values to tell per column (equal counts by value). ranges: for number and time columns, the
    inner edges of the ranges, ascending; without them about five ranges with round edges, the same for every query.
    """

    columns: tuple[str, ...]
    size: int = 10
    ranges: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Coded:
    """A column as codes: one per row (`single` [n], -1 for missing) or several (`several`, Ragged over rows)."""

    labels: list[str]
    single: np.ndarray | None = None
    several: Ragged | None = None
    ordered: bool = False

    def of(self, request: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (request, row) to pairs (request, code)."""
        if self.single is not None:
            code = self.single[row]
            return request[code >= 0], code[code >= 0]
        assert self.several is not None
        taken = self.several.take(row)
        return request[taken.groups], taken.values


def facet_counts(
    catalog: Catalog, asked: FacetRequest, matches: Matching, *, block: int = 4_000_000
) -> list[dict[str, dict[str, int]]]:
    """Per request: column -> label -> how many matching items have it, most frequent first (ranges in their order).

    The label of a range is a filter that can be given back as it stands, such as `price >= 10 and price < 20`. Missing
    values are not counted; an item with several values counts once under each.

    Raises:
        RequestError: the column is of a kind that has no facets, or the ranges do not ascend.
        SchemaError: no such column.
    """
    if asked.size < 1:
        raise RequestError(f"a facet tells at least 1 value, got {asked.size}.")
    out: list[dict[str, dict[str, int]]] = [{} for _ in range(matches.requests)]
    for name in asked.columns:
        coded = _coded(catalog, name, asked.ranges.get(name))
        counts = _counted(coded, matches, block)
        for request, told in enumerate(_top(coded, counts, asked.size)):
            out[request][name] = told
    return out


def _counted(coded: _Coded, matches: Matching, block: int) -> np.ndarray:
    """Counts [q, labels]."""
    width = max(len(coded.labels), 1)
    counts = np.zeros((matches.requests, width), np.int64)
    if matches.shared is not None:
        every = np.zeros(len(matches.shared), np.int64)
        _, code = coded.of(every, matches.shared.astype(np.int64))
        counts += np.bincount(code, minlength=width)[None, :]
        gone = matches.removed
        if gone is not None:
            request, code = coded.of(gone.groups, gone.values.astype(np.int64))
            np.subtract.at(counts, (request, code), 1)
        return counts
    for start, stop in matches.blocks(block):
        request, code = coded.of(*matches.pairs(start, stop))
        flat = np.bincount(request * width + code, minlength=(stop - start) * width)
        counts[start:stop] = flat.reshape(stop - start, width)
    return counts


def _top(coded: _Coded, counts: np.ndarray, size: int) -> list[dict[str, int]]:
    if not coded.labels:
        return [{} for _ in counts]
    if coded.ordered:
        order = np.broadcast_to(np.arange(counts.shape[1]), counts.shape)
    else:
        order = np.argsort(-counts, axis=1, kind="stable")[:, :size]  # labels are sorted: equal counts go by label
    told = np.take_along_axis(counts, order, 1)
    return [
        {coded.labels[code]: count for code, count in zip(codes, values, strict=True) if count}
        for codes, values in zip(order.tolist(), told.tolist(), strict=True)
    ]


def _coded(catalog: Catalog, name: str, edges: Sequence[float] | None) -> _Coded:
    kind = catalog.schema[name]
    if kind not in COUNTABLE:
        raise RequestError(f"`{name}` is a {kind} column; facets count {', '.join(COUNTABLE)} columns.")
    column = catalog.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if kind in ("number", "time"):
        return _ranges(name, column, edges)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        flat, parents = pc.list_flatten(column), np.asarray(pc.list_parent_indices(column), np.int64)
        codes, labels = _labels(flat)
        pairs = np.unique(parents[codes >= 0] * max(len(labels), 1) + codes[codes >= 0])
        several = Ragged.from_groups(pairs // max(len(labels), 1), pairs % max(len(labels), 1), len(column))
        return _Coded(labels, several=several)
    codes, labels = _labels(column)
    return _Coded(labels, single=codes)


def _labels(column: pa.Array) -> tuple[np.ndarray, list[str]]:
    """Codes [n] (-1 for missing) into sorted labels."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    text = pc.cast(column, pa.large_string()) if not pa.types.is_large_string(column.type) else column
    encoded = text.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = np.argsort(np.array(names, object), kind="stable") if names else np.zeros(0, np.int64)
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    codes = np.asarray(encoded.indices.fill_null(-1), np.int64)
    codes = np.where(codes >= 0, place[np.maximum(codes, 0)], -1) if len(names) else codes
    return codes, [names[i] for i in order.tolist()]


def _ranges(name: str, column: pa.Array, edges: Sequence[float] | None) -> _Coded:
    if pa.types.is_boolean(column.type):
        codes, labels = _labels(column)
        return _Coded(labels, single=codes)
    is_time = pa.types.is_temporal(column.type)
    numbers = pc.cast(pc.cast(column, pa.timestamp("s"), safe=False), pa.int64()) if is_time else column
    values = np.asarray(pc.cast(numbers, pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    day = 86_400.0 if is_time else 1.0
    inner = round_edges(values / day) * day if edges is None else np.asarray(edges, np.float64)
    inner = np.unique(np.round(inner / day) * day) if is_time and edges is None else inner
    if not np.isfinite(inner).all() or (np.diff(inner) <= 0).any():
        raise RequestError(f"the ranges of `{name}` must ascend, got {list(edges or [])}.")
    codes = np.where(np.isnan(values), -1, np.searchsorted(inner, values, side="right"))
    return _Coded(range_labels(name, inner, is_time), single=codes.astype(np.int64), ordered=True)


def range_labels(name: str, inner: np.ndarray, is_time: bool = False) -> list[str]:
    """The ranges below, between and from the inner edges, each written as a filter on the column."""
    quoted = name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else f"`{name}`"
    told = [f"'{np.datetime64(int(edge), 's')}'" if is_time else f"{edge:.15g}" for edge in inner]
    if not told:
        return [f"{quoted} is not null"]
    middle = [f"{quoted} >= {low} and {quoted} < {high}" for low, high in zip(told[:-1], told[1:], strict=True)]
    return [f"{quoted} < {told[0]}", *middle, f"{quoted} >= {told[-1]}"]


def round_edges(values: np.ndarray, count: int = 5) -> np.ndarray:
    """At most `count` - 1 edges near the quantiles of `values`, each as round as the gap to its neighbours allows.

    Empty where there are no two different values.
    """
    real = values[np.isfinite(values)]
    if len(real) == 0 or real.min() == real.max():
        return np.zeros(0)
    marks = np.unique(np.quantile(real, np.arange(count + 1) / count))
    gaps = np.diff(marks)
    step = 10.0 ** np.floor(np.log10(np.minimum(gaps[:-1], gaps[1:])))
    edges = np.unique(np.round(np.round(marks[1:-1] / step) * step, 12))
    # Two values only: the quantiles leave nothing between them.
    edges = edges if len(edges) else np.array([real.max()])
    return edges[(edges > real.min()) & (edges <= real.max())]
