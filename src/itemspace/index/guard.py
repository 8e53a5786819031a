"""`Guarded`: an index that any number of threads search while one changes it; every search sees one state.

A class that inherits `Guarded` instead of `Index` has nothing to write: its methods are wrapped where they are defined.
Searches share; `upsert`, `remove` and `build` wait for the searches under way and go before later ones; `save` keeps
changes out, not searches; `compact` works on a copy beside the searches and only the switch to it excludes them.
"""

from __future__ import annotations

import copy
import functools
import threading
from abc import ABC
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from itemspace.core.contracts import Index

READS = ("search", "matches", "explain", "measured_recall", "vectors_read")
SAVES = ("save",)
CHANGES = ("build", "upsert", "remove")
COMPACTS = ("compact",)


class Guard:
    """Many readers or one changer. A thread that is inside already passes: methods may call each other."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = self._waiting = 0
        self._excluded = False
        self._changing = threading.RLock()
        self._mine = threading.local()

    @property
    def inside(self) -> bool:
        """Whether the calling thread reads or changes already."""
        return getattr(self._mine, "inside", False)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Beside other readers, never beside a change."""
        with self._condition:
            while self._excluded or self._waiting:
                self._condition.wait()
            self._readers += 1
        self._mine.inside = True
        try:
            yield
        finally:
            self._mine.inside = False
            with self._condition:
                self._readers -= 1
                if not self._readers:
                    self._condition.notify_all()

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Changes wait; readers come and go."""
        with self._changing:
            before, self._mine.inside = self.inside, True
            try:
                yield
            finally:
                self._mine.inside = before

    @contextmanager
    def excluding(self) -> Iterator[None]:
        """Alone."""
        with self._changing:
            with self._condition:
                self._waiting += 1
                while self._excluded or self._readers:
                    self._condition.wait()
                self._waiting -= 1
                self._excluded = True
            before, self._mine.inside = self.inside, True
            try:
                yield
            finally:
                self._mine.inside = before
                with self._condition:
                    self._excluded = False
                    self._condition.notify_all()


class Guarded(Index, ABC):
    """See the module. `compact` of a subclass replaces attributes and changes nothing that a search may be reading; one

    that works in place says `compacts_in_place = True` and excludes searches as long as it takes.
    """

    compacts_in_place: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for names, wrap in ((READS, _reading), (SAVES, _unchanged), (CHANGES, _excluding), (COMPACTS, _compacting)):
            for name in names:
                method = cls.__dict__.get(name)
                if callable(method) and not getattr(method, "__isabstractmethod__", False):
                    setattr(cls, name, wrap(method))

    @property
    def guard(self) -> Guard:
        """The lock of this object, made when first asked for."""
        held = self.__dict__.get("_guard")
        # One of two threads that come at once makes it, both use it.
        return held if held is not None else self.__dict__.setdefault("_guard", Guard())


def _reading(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def guarded(self: Guarded, *args: Any, **options: Any) -> Any:
        guard = self.guard
        if guard.inside:
            return method(self, *args, **options)
        with guard.reading():
            return method(self, *args, **options)

    return guarded


def _unchanged(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def guarded(self: Guarded, *args: Any, **options: Any) -> Any:
        guard = self.guard
        if guard.inside:
            return method(self, *args, **options)
        with guard.unchanged():
            return method(self, *args, **options)

    return guarded


def _excluding(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def guarded(self: Guarded, *args: Any, **options: Any) -> Any:
        guard = self.guard
        if guard.inside:
            return method(self, *args, **options)
        with guard.excluding():
            return method(self, *args, **options)

    return guarded


def _compacting(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def guarded(self: Guarded, *args: Any, **options: Any) -> Any:
        guard = self.guard
        if guard.inside:
            return method(self, *args, **options)
        if self.compacts_in_place:
            with guard.excluding():
                return method(self, *args, **options)
        with guard.unchanged():
            beside = copy.copy(self)
            beside.__dict__["_guard"] = Guard()
            method(beside, *args, **options)
            made = {name: value for name, value in beside.__dict__.items() if name != "_guard"}
            with guard.excluding():
                self.__dict__.update(made)
        return None

    return guarded
