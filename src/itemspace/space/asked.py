"""What callers ask with, checked: texts, item and user IDs, histories, columns. Nothing is guessed that could be wrong."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from itemspace.core.errors import RequestError, shown
from itemspace.core.ragged import Ragged
from itemspace.core.requests import History, Requests
from itemspace.search import FacetRequest
from itemspace.space.live import Live


def texts(query: Any) -> list[str]:
    """One query or a batch of them as a list.

    Raises:
        RequestError: not text, an empty batch, or a batch of which some are blank.
    """
    given = [query] if isinstance(query, str) else _listed(query)
    if not given or not all(isinstance(text, str) for text in given):
        raise RequestError(f"a search query is a text, or a sequence of texts; got {_described(query)}.")
    blank = [not text.strip() for text in given]
    if any(blank) and not all(blank):
        raise RequestError(f"query {blank.index(True) + 1} of the batch is blank; ask the blank ones separately.")
    return given


def ids(given: Any, what: str) -> list[str]:
    """External IDs as texts, from one ID or a sequence of them. Whole numbers are read as their digits.

    Raises:
        RequestError: something else; `what` says what the IDs are for.
    """
    if _is_id(given):
        return [str(given)]
    names = _listed(given)
    if names is None:
        raise RequestError(f"{what}: an ID or a sequence of IDs is needed; got {_described(given)}.")
    for at, name in enumerate(names):
        if not _is_id(name):
            raise RequestError(f"{what}: entry {at + 1} is {_described(name)}; IDs are text or whole numbers.")
    return [str(name) for name in names]


def histories(given: Any) -> list[list[str]]:
    """A batch of histories of item IDs, from one history or several.

    Raises:
        RequestError: a history is a text (a sequence of letters is no history), or holds something that is no ID.
    """
    if isinstance(given, str):
        parts = [f'"{part.strip()}"' for part in given.split(",")]
        raise RequestError(
            f"a history is a sequence of item IDs, oldest first; got the text {_described(given)}. "
            f"Write history=[{shown(', '.join(parts))}]."
        )
    batch = _listed(given)
    if batch is None:
        raise RequestError(f"a history is a sequence of item IDs, oldest first; got {_described(given)}.")
    nested = [not _is_id(one) and _listed(one) is not None for one in batch]
    if not any(nested):
        return [ids(batch, "the history")]
    if not all(nested):
        at = nested.index(False)
        raise RequestError(
            f"a batch of histories has a sequence of item IDs for each; entry {at + 1} is {_described(batch[at])}."
        )
    return [ids(one, f"history {at + 1} of the batch") for at, one in enumerate(batch)]


def name(given: Any, what: str) -> str:
    """One text.

    Raises:
        RequestError: something else; `what` says what it names.
    """
    if not isinstance(given, str):
        raise RequestError(f"{what} is a text; got {_described(given)}.")
    return given


def sorting(given: Any) -> str | list[str] | None:
    """A sort order: a text, or a sequence of texts.

    Raises:
        RequestError: something else.
    """
    if given is None or isinstance(given, str):
        return given
    columns = _listed(given)
    if columns is None or not all(isinstance(column, str) for column in columns):
        raise RequestError(f'`sort` is a column such as "price" or "-price", or a sequence; got {_described(given)}.')
    return columns


def facets(given: Any) -> FacetRequest | None:
    """What to count.

    Raises:
        RequestError: not a column, a sequence of columns or a `FacetRequest`.
    """
    if given is None or isinstance(given, FacetRequest):
        return given
    columns = [given] if isinstance(given, str) else _listed(given)
    if columns is None or not all(isinstance(column, str) for column in columns):
        raise RequestError(
            f"`facets` is a column or a sequence of columns; got {_described(given)}. "
            "For ranges pass FacetRequest(columns, ranges={column: edges})."
        )
    return FacetRequest(tuple(columns))


def recommendations(live: Live, history: Any, user: Any) -> tuple[Requests, list[str]]:
    """Requests for a history, a batch of histories, a known user or a batch of users, and what is to be told of them.

    Raises:
        RequestError: an unknown item, or nobody to recommend to.
    """
    notes: list[str] = []
    if history is not None:
        batch = histories(history)
        flat = live.catalog.rows([item for one in batch for item in one])
        offsets = np.concatenate(([0], np.cumsum([len(one) for one in batch]))).astype(np.int64)
        past = History(Ragged(flat.astype(np.int32), offsets))
        if any(not one for one in batch):
            notes.append("an empty history: what is popular")
    elif user is not None:
        names = ids(user, "recommend to which user")
        rows = live.histories.users.find(names)
        past = live.histories.take(rows)
        unknown = [name for name, row in zip(names, rows.tolist(), strict=True) if row < 0]
        notes += [f'user "{name}" is unknown: what is popular' for name in unknown]
    else:
        raise RequestError("recommend to whom? Give a history of item IDs, or a user.")
    if len(past) == 0:
        raise RequestError("an empty batch: give at least one history or user.")
    return Requests(history=past), notes


def _listed(given: Any) -> list[Any] | None:
    """A sequence, array or generator as a list; None for anything else, and for texts, bytes and mappings."""
    if isinstance(given, (str, bytes, bytearray, Mapping)):
        return None
    if hasattr(given, "tolist"):  # NumPy and Arrow arrays
        value = given.tolist()
        return value if isinstance(value, list) else None
    return list(given) if isinstance(given, (Sequence, Iterable)) else None


def _is_id(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, numbers.Integral) and not isinstance(value, bool))


def _described(value: Any) -> str:
    return f"{type(value).__name__} {shown(repr(value))}"
