"""`Served`: one Space in one process, held under load."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, overload

from itemspace.core.catalog import Catalog
from itemspace.core.errors import InUseError, ItemspaceError
from itemspace.core.files import as_path
from itemspace.serve.batching import Closing, Overloaded, Pool, TimedOut
from itemspace.serve.generation import Generation, opened
from itemspace.serve.questions import (
    RecommendQuestion,
    SearchQuestion,
    Then,
    made,
    notes_of,
    recommended,
    searched,
)
from itemspace.serve.writing import ChangeCount, current_mark

if TYPE_CHECKING:
    from itemspace.core.hits import Hits
    from itemspace.space import Space

__all__ = [
    "Closing",
    "Overloaded",
    "RecommendQuestion",
    "SearchQuestion",
    "Served",
    "ServedOptions",
    "TimedOut",
]

T = TypeVar("T")
X = TypeVar("X")
_LOG = logging.getLogger("itemspace.serve")


class Configured(Protocol):
    """The part of a server's configuration that is read here; `ServeConfig` has it."""

    @property
    def spaces(self) -> Mapping[str, Path]: ...
    @property
    def threads(self) -> int: ...
    @property
    def limits(self) -> Any: ...


@dataclass(frozen=True)
class ServedOptions:
    """How much of a machine one Space may take in one process.

    threads: reads that run at a time. max_waiting: reads that may wait for a thread; beyond it they are refused.
    max_batch: questions answered together. timeout_s: a read, from asking to answer. max_changes: changes that may wait.
    change_timeout_s: a change, from asking to acknowledged. watch_s: how often to look for a new generation, and for
    changes made by processes that do not serve.
    """

    threads: int = 2
    max_waiting: int = 256
    max_batch: int = 32
    timeout_s: float = 10.0
    max_changes: int = 64
    change_timeout_s: float = 30.0
    watch_s: float = 1.0

    @classmethod
    def of(cls, config: Configured) -> Self:
        """What a server's configuration says of this."""
        limits = config.limits
        return cls(
            threads=config.threads,
            max_waiting=limits.max_waiting,
            timeout_s=limits.timeout_s,
            change_timeout_s=limits.write_timeout_s,
        )


class Served:
    """One Space in one process: reads on a bounded pool, questions asked alike answered together, one writer over all
    processes, changes visible to the next read anywhere, and new generations taken over without a failed read.

    Its coroutines belong to one event loop.
    """

    def __init__(self, name: str, path: Path, options: ServedOptions, generation: Generation) -> None:
        """Use `open`."""
        self.name, self.path, self.options = name, path, options
        self._now = generation
        self.together: Callable[[int], object] | None = None  # told how many questions one run answers
        self._count = ChangeCount(path)
        self._seen = 0  # the count at which `_now` had followed everything
        self._reads = Pool(
            f"reads-{name}",
            threads=options.threads,
            max_waiting=options.max_waiting,
            timeout_s=options.timeout_s,
            max_batch=options.max_batch,
        )
        self._writes = Pool(
            f"changes-{name}", threads=1, max_waiting=options.max_changes, timeout_s=options.change_timeout_s
        )
        self._follower = ThreadPoolExecutor(1, thread_name_prefix=f"follow-{name}")
        self._swapping = threading.Lock()
        self._refused: object = None  # the mark of a generation that could not be opened
        self._following: asyncio.Future[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    def open(cls, name: str, path: str | Path, options: ServedOptions | None = None) -> Self:
        """Open the Space at `path`.

        Raises:
            ArtifactError: there is none, or it is damaged.
        """
        home = as_path(path)
        mark = current_mark(home)
        return cls(name, home, options or ServedOptions(), Generation(opened(home), mark))

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return not self._closed

    @property
    def version(self) -> int:
        """The store version that answers reflect."""
        return self._now.space.version

    @property
    def generation(self) -> str:
        """The generation that answers."""
        return self._now.space.generation

    @property
    def catalog(self) -> Catalog:
        """The items that answers reflect, to look IDs up in before asking. Its rows mean nothing to another generation."""
        return self._now.space.catalog

    @property
    def waiting(self) -> int:
        """Reads that have not begun."""
        return self._reads.waiting

    # Asking

    @overload
    async def search(self, question: SearchQuestion) -> Hits: ...
    @overload
    async def search(self, question: SearchQuestion, then: Then[T]) -> T: ...

    async def search(self, question: SearchQuestion, then: Then[Any] | None = None) -> Any:
        """The answer to one query; queries that wait with the same options share one `Space.search`.

        then: makes of the hits (of this one query) what is wanted, on the same thread and the same state of the Space:
        rows mean nothing to another generation.

        Raises:
            Overloaded, TimedOut: see `Pool`. Otherwise what `Space.search` raises.
        """
        if question.explain:
            return await self.ask(lambda space: made(space, searched(space, [question]), 0, then))
        await self._fresh()
        return await self._reads.join(question.key, (question, then), self._answer_searches)

    @overload
    async def recommend(self, question: RecommendQuestion) -> Hits: ...
    @overload
    async def recommend(self, question: RecommendQuestion, then: Then[T]) -> T: ...

    async def recommend(self, question: RecommendQuestion, then: Then[Any] | None = None) -> Any:
        """Recommendations for one history or user; those that wait with the same options share one `Space.recommend`.

        then: as in `search`.

        Raises:
            Overloaded, TimedOut: see `Pool`. Otherwise what `Space.recommend` raises.
        """
        if question.explain:
            return await self.ask(lambda space: made(space, recommended(space, [question]), 0, then))
        await self._fresh()
        return await self._reads.join(question.key, (question, then), self._answer_recommendations)

    async def ask(self, call: Callable[[Space], T]) -> T:
        """`call` with the Space, on the pool, for anything that only reads.

        Raises:
            Overloaded, TimedOut: see `Pool`. Otherwise what `call` raises.
        """
        await self._fresh()

        def run() -> T:
            with self._reading() as space:
                return call(space)

        return await self._reads.run(run)

    async def share(self, key: Hashable, item: X, run: Callable[[Space, list[X]], Sequence[T]]) -> T:
        """The answer of `run(space, [..., item, ...])` for `item`; items that wait with an equal `key` share one run.

        Raises:
            Overloaded, TimedOut: see `Pool`. Otherwise what `run(space, [item])` raises.
        """
        await self._fresh()

        def answers(items: list[X]) -> Sequence[T]:
            if self.together is not None:
                self.together(len(items))
            with self._reading() as space:
                return run(space, items)

        return await self._reads.join(key, item, answers)

    def reading(self) -> AbstractContextManager[Space]:
        """The Space for a `with` block on a thread of one's own; it stays open for as long, whatever takes its place."""
        return self._reading()

    def _answer_searches(self, asked: list[tuple[SearchQuestion, Then[Any] | None]]) -> list[Any]:
        if self.together is not None:
            self.together(len(asked))
        with self._reading() as space:
            hits = searched(space, [question for question, _ in asked])
            return [made(space, hits, at, then) for at, (_, then) in enumerate(asked)]

    def _answer_recommendations(self, asked: list[tuple[RecommendQuestion, Then[Any] | None]]) -> list[Any]:
        if self.together is not None:
            self.together(len(asked))
        with self._reading() as space:
            hits = recommended(space, [question for question, _ in asked])
            return [
                made(space, replace(hits, explanation=notes_of(hits, question.user)), at, then)
                for at, (question, then) in enumerate(asked)
            ]

    @contextmanager
    def _reading(self) -> Iterator[Space]:
        while not (generation := self._now).enter():
            pass  # retired this moment: there is a newer one
        try:
            yield generation.space
        finally:
            generation.leave()

    # Changing

    async def change(self, call: Callable[[Space], int]) -> tuple[int, int]:
        """Make a change: what `call` returns (how much changed) and the version after it. Durable when it returns, and
        seen by every read that is asked after that, in any process that serves the Space.

        Raises:
            Overloaded: too many changes wait, or another process has held the writer's place all the time.
            TimedOut: not acknowledged in time; it may yet be made. Otherwise what `call` raises, nothing written.
        """
        return await self._writes.run(lambda: self._changed(call))

    def _changed(self, call: Callable[[Space], int]) -> tuple[int, int]:
        self._take_new_generation()
        try:
            with self._reading() as space, space.writing(wait_s=self.options.change_timeout_s / 2):
                before, version = self._count.value, space.version
                count = call(space)
                if space.version != version:
                    # Nobody else writes meanwhile, and a change follows all that were before it.
                    now = self._count.bump()
                    if now == before + 1 and current_mark(self.path) == self._now.mark:
                        self._seen = now
                return count, space.version
        except InUseError as error:
            raise Overloaded(str(error), retry_after=1.0) from None

    # Following

    async def _fresh(self) -> None:
        """Wait until what answers has everything that was acknowledged by now."""
        if self._closed:
            raise Closing
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch())
        due = self._count.value
        while self._seen < due:
            await self._follow()

    async def _follow(self) -> None:
        """Catch up once; who comes while that runs waits for the same."""
        # One that has ended is not waited for: that would not let go of the loop.
        if self._following is None or self._following.done():
            self._following = asyncio.get_running_loop().run_in_executor(self._follower, self._catch_up)
        await asyncio.shield(self._following)

    def _catch_up(self) -> None:
        """Follow the count as it stands. What cannot be followed is told, and what answers goes on answering."""
        due = self._count.value
        try:
            self._take_new_generation()
            with self._reading() as space:
                space.refresh()
        except Exception as error:
            _LOG.error("%s: version %d goes on answering: %s", self.name, self.version, error)
        self._seen = due

    async def _watch(self) -> None:
        """Look for new generations and for changes made elsewhere, every now and then."""
        while True:
            await asyncio.sleep(self.options.watch_s)
            await self._follow()

    async def reload(self) -> bool:
        """Take over the newest generation now, if there is one. The old one closes after its last reader.

        Raises:
            ArtifactError: the new one cannot be opened; the old one goes on answering.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._follower, lambda: self._take_new_generation(again=True))

    def _take_new_generation(self, *, again: bool = False) -> bool:
        """Open what `CURRENT` names, where that has changed, and put it in the place of what answers."""
        with self._swapping:
            mark = current_mark(self.path)
            if mark == self._now.mark or (mark == self._refused and not again):
                return False
            try:
                space = opened(self.path)
            except ItemspaceError as error:
                self._refused = mark
                _LOG.error("%s: generation %s goes on answering: %s", self.name, self.generation, error)
                if again:
                    raise
                return False
            old, self._now = self._now, Generation(space, mark)
            old.retire()
            _LOG.info("%s: generation %s answers now", self.name, self.generation)
            return True

    async def close(self) -> None:
        """Answer what is under way, refuse what comes later, and close the Space."""
        if self._closed:
            return
        self._closed = True
        if self._watching is not None:
            self._watching.cancel()
        await self._writes.close()
        await self._reads.close()
        self._follower.shutdown(wait=True)
        self._now.retire()
        self._count.close()
