"""`Requests`: one batch of questions. A search query and a recommendation history are both requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.core.errors import RequestError, shown
from itemspace.core.ragged import Ragged
from itemspace.core.vectors import Vectors


@dataclass(frozen=True)
class History:
    """Past events per request, oldest first: item rows, with times (Unix seconds) and event names where known."""

    items: Ragged
    times: Ragged | None = None
    events: Ragged | None = None
    event_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("items", "times", "events"):
            value = getattr(self, name)
            if not isinstance(value, Ragged) and (value is not None or name == "items"):
                raise RequestError(
                    f"the {name} of a history are a Ragged, got {_described(value)}. "
                    "Requests.histories([[3, 17], [5]]) makes requests from lists of item rows."
                )

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: np.ndarray) -> History:
        return replace(
            self,
            items=self.items.take(rows),
            times=None if self.times is None else self.times.take(rows),
            events=None if self.events is None else self.events.take(rows),
        )

    def last(self, length: int) -> History:
        """The last `length` events of every request."""
        return replace(
            self,
            items=self.items.last(length),
            times=None if self.times is None else self.times.last(length),
            events=None if self.events is None else self.events.last(length),
        )


@dataclass(frozen=True)
class Requests:
    """A columnar batch of `len(self)` questions; every column is optional, and a part reads those it understands.

    text: query texts. image, audio: a path, bytes or array per request. vector: ready-made query vectors.
    instruction: how to read the query. liked, disliked: item rows per request (composition, "more like this").
    history: past events. user: int32 rows of the users' `Ids`, -1 unknown. context: an Arrow table of context features.
    as_of: int64 Unix seconds; nothing later may be used to answer. exclude: item rows that must not come back.
    Items and users are rows here; the front door translates external IDs.
    """

    text: tuple[str, ...] | None = None
    image: tuple[Any, ...] | None = None
    audio: tuple[Any, ...] | None = None
    vector: Vectors | None = None
    instruction: tuple[str, ...] | None = None
    liked: Ragged | None = None
    disliked: Ragged | None = None
    history: History | None = None
    user: np.ndarray | None = None
    context: pa.Table | None = None
    as_of: np.ndarray | None = None
    exclude: Ragged | None = None

    def __post_init__(self) -> None:
        for name, (fits, told) in _COLUMNS.items():
            value = getattr(self, name)
            if value is not None and not fits(value):
                raise RequestError(f"`{name}` is {told}; got {_described(value)}.")
        sizes = {f.name: _size(getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) is not None}
        if not sizes:
            raise RequestError("an empty request: give a text, a history, a user, an item or a vector.")
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise RequestError(f"the columns of a batch differ in length: {told}.")

    @classmethod
    def texts(cls, texts: Sequence[str], **columns: Any) -> Requests:
        """Search queries.

        Raises:
            RequestError: not a sequence of texts. One text by itself is refused: it is a sequence of letters.
        """
        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise RequestError(
                f'a batch of queries is a sequence of texts, such as ["boots"]; got {_described(texts)}.'
            )
        return cls(text=tuple(texts), **columns)

    @classmethod
    def histories(cls, items: Ragged | Sequence[Sequence[int] | np.ndarray], **columns: Any) -> Requests:
        """Recommendation requests from histories of item rows, oldest first.

        Raises:
            RequestError: not a sequence of sequences of whole numbers.
        """
        if isinstance(items, Ragged):
            return cls(history=History(items), **columns)
        try:
            rows = [np.asarray(one) for one in items]
        except (TypeError, ValueError):
            rows = [np.array("")]
        if not all(one.ndim == 1 and (one.dtype.kind in "iu" or len(one) == 0) for one in rows):
            raise RequestError(f"histories are lists of item rows, such as [[3, 17], [5]]; got {_described(items)}.")
        return cls(history=History(Ragged.from_lists(rows)), **columns)

    def __len__(self) -> int:
        return next(_size(getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) is not None)

    @property
    def columns(self) -> set[str]:
        """The names of the columns that are present."""
        return {f.name for f in fields(self) if getattr(self, f.name) is not None}

    def take(self, rows: np.ndarray) -> Requests:
        """Some requests of the batch, in that order."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows

        def pick(value: Any) -> Any:
            if value is None:
                return None
            if isinstance(value, tuple):
                return tuple(value[i] for i in rows.tolist())
            if isinstance(value, pa.Table):
                return value.take(pa.array(rows))
            return value[rows] if isinstance(value, np.ndarray) else value.take(rows)

        return Requests(**{f.name: pick(getattr(self, f.name)) for f in fields(self)})

    def batches(self, size: int) -> list[Requests]:
        """The batch cut into parts of at most `size` requests."""
        n = len(self)
        if n <= size:
            return [self]
        return [self.take(np.arange(start, min(start + size, n))) for start in range(0, n, size)]

    def excluding_history(self) -> Requests:
        """The same requests, with what is in each history excluded from the answers."""
        if self.history is None:
            return self
        exclude = self.history.items if self.exclude is None else self.exclude.concat(self.history.items)
        return replace(self, exclude=exclude)

    def require(self, *columns: str, by: str) -> None:
        """Refuse a batch that lacks all of `columns`.

        Raises:
            RequestError: none of the columns is present; names who asked.
        """
        if not self.columns & set(columns):
            raise RequestError(
                f"{by} answers requests with {' or '.join(columns)}; these have {', '.join(sorted(self.columns))}."
            )


def _size(value: Any) -> int:
    return value.num_rows if isinstance(value, pa.Table) else len(value)


def _described(value: Any) -> str:
    return f"{type(value).__name__} {shown(repr(value))}"


def _texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(text is None or isinstance(text, str) for text in value)


def _whole(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iu"


_COLUMNS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "text": (_texts, "a tuple of texts"),
    "image": (lambda value: isinstance(value, tuple), "a tuple with a picture for each request"),
    "audio": (lambda value: isinstance(value, tuple), "a tuple with a sound for each request"),
    "vector": (lambda value: isinstance(value, Vectors), "Vectors, which know their space, such as Dense(values, space)"),
    "instruction": (_texts, "a tuple of texts"),
    "liked": (lambda value: isinstance(value, Ragged), "a Ragged of item rows"),
    "disliked": (lambda value: isinstance(value, Ragged), "a Ragged of item rows"),
    "history": (lambda value: isinstance(value, History), "a History; Requests.histories makes one from lists of item rows"),
    "user": (_whole, "an array of user rows, -1 where unknown"),
    "context": (lambda value: isinstance(value, pa.Table), "an Arrow table with a row for each request"),
    "as_of": (_whole, "an array of Unix seconds"),
    "exclude": (lambda value: isinstance(value, Ragged), "a Ragged of item rows"),
}  # fmt: skip
"""What each column of `Requests` must be, and that in words."""
