"""Sharing: a step that several pipelines have in common runs once per batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from itemspace.core.hits import Hits
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection

if TYPE_CHECKING:
    from itemspace.core.contracts import Retriever
    from itemspace.core.where import Expression

T = TypeVar("T")

_SHARED: ContextVar[dict[tuple[Any, ...], tuple[Any, ...]] | None] = ContextVar("shared_steps", default=None)


@contextmanager
def sharing() -> Iterator[None]:
    """Inside, a step shared by several pipelines runs once per batch: the encoding, a branch, a prefix before `>>`.

    ```python
    with sharing():                      # `dense` is searched once, not three times
        for arm in (dense, fuse(dense, words), dense >> scorer % 100):
            run(arm, requests, 100)
    ```

    A step counts as the same when it is the same object, asked the same `Requests` object, `k` and filter; answers are
    those it would have given alone. Do not change indexes inside. A `sharing()` within another shares what that one has.
    """
    if _SHARED.get() is not None:
        yield
        return
    token = _SHARED.set({})
    try:
        yield
    finally:
        _SHARED.reset(token)


def run(retriever: Retriever, requests: Requests, k: int, where: str | Expression | Selection | None = None) -> Hits:
    """`retriever.search`, answered from what was already computed inside `sharing()`."""
    key = where if where is None or isinstance(where, str) else id(where)
    return once((retriever, k, key, where), requests, lambda: retriever.search(requests, k, where))


def once(what: tuple[Any, ...], requests: Requests, compute: Callable[[], T]) -> T:
    """`compute()`, or what it gave for the same `what` and `requests` earlier inside `sharing()`."""
    memory = _SHARED.get()
    if memory is None:
        return compute()
    key = (*(part if isinstance(part, (str, int, type(None))) else id(part) for part in what), id(requests))
    if key not in memory:
        # The parts of the key are kept alive with the answer, so an id is never reused while it is one.
        memory[key] = (compute(), what, requests)
    found: T = memory[key][0]
    return found
