"""What a retriever does first with what it is asked: check `k`, compile the filter, take the exclusions in."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from itemspace.core.errors import FilterError, RequestError
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection

if TYPE_CHECKING:
    from itemspace.core.catalog import Catalog
    from itemspace.core.where import Expression

    Filter: TypeAlias = str | Expression | Selection | None


MOST = 10_000_000
"""The largest k or offset: room for it is made whether or not so many items match."""


def check_k(k: int) -> None:
    """Refuse a k that is not a whole number from 1 to `MOST`.

    Raises:
        RequestError: says what was given.
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise RequestError(f"k is how many hits to return: a whole number of at least 1, got {_plain(k)!r}.")
    if k > MOST:
        raise RequestError(f"k is at most {MOST:,}, got {k:,}. To read a whole catalogue, use `space.catalog`.")


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def compiled(expression: Filter, catalog: Catalog | None) -> Selection | None:
    """A filter as a selection; None stays None.

    Raises:
        FilterError: it must be compiled and no catalogue is bound, or it does not fit the columns.
    """
    if expression is None or isinstance(expression, Selection):
        return expression
    if catalog is None:
        raise FilterError(
            "a filter in words needs a catalogue to be compiled by: call retriever.bind(catalog) first.",
            expression=expression if isinstance(expression, str) else None,
        )
    return catalog.where(expression)


def selection(requests: Requests, where: Filter, catalog: Catalog | None, rows: int) -> Selection | None:
    """What a batch may be answered with: the filter, removed items and the requests' exclusions. None for anything.

    `rows` is the least size to assume where no catalogue is bound.
    """
    chosen = compiled(where, catalog)
    if chosen is None and requests.exclude is None:
        return None
    if chosen is None:
        assert requests.exclude is not None
        highest = int(requests.exclude.values.max(initial=-1)) + 1
        chosen = Selection.all(max(rows, highest, 0 if catalog is None else len(catalog)))
    return chosen.excluding(requests.exclude)


def told(within: Selection | None, requests: int) -> str:
    """In words, how many rows a selection leaves."""
    if within is None or within.is_all:
        return ""
    text = f"{within.count:,} of {within.size:,} rows allowed"
    if within.per_request and requests:
        text += f", {within.counts(requests).mean():,.1f} per request after exclusions"
    return text
