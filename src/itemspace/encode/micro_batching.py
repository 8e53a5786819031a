"""Concurrent queries encoded together: one forward pass answers every thread that asked meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.config import load_object
from itemspace.core.contracts import Encoder, Role
from itemspace.core.errors import ContractError
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG
from itemspace.core.vectors import Dense, Vectors, VectorSpace


@dataclass(eq=False)
class _Call:
    items: list[Any]
    rows: np.ndarray | None = None
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.rows is not None or self.error is not None


class MicroBatcher:
    """`run`, called by many threads at once, sees their items in batches; each caller gets its own rows or its own error.

    There is no thread of its own: of the callers that wait, one runs the batch of all, and while it runs the next batch
    gathers. Who is alone does not wait. Where the last batch had several callers, the next one is held open until as many
    have come again, for `max_wait_ms` at most (so the first caller after others have left may wait that long, once).

    run: items to an array with a row for each, in order. max_batch: items per call of `run`; one caller's items stay
    together, even if they are more.
    """

    def __init__(
        self, run: Callable[[list[Any]], np.ndarray], *, max_batch: int = 64, max_wait_ms: float = 2.0
    ) -> None:
        if max_batch < 1 or max_wait_ms < 0:
            raise ValueError(f"max_batch {max_batch} must be at least 1 and max_wait_ms {max_wait_ms} at least 0")
        self.run, self.max_batch, self.max_wait = run, max_batch, max_wait_ms / 1000
        self._changed = threading.Condition()
        self._waiting: deque[_Call] = deque()
        self._running = self._closed = False
        self._callers = 1  # in the last batch

    def __call__(self, items: Sequence[Any]) -> np.ndarray:
        """The rows of `items`, in order.

        Raises:
            ContractError: the batcher is closed. Otherwise whatever `run` raises for these items by themselves.
        """
        call = _Call(list(items))
        with self._changed:
            if self._closed:
                raise ContractError("this MicroBatcher is closed.")
            self._waiting.append(call)
            self._changed.notify_all()
            while not call.done:
                if self._running:
                    self._changed.wait()
                else:
                    self._lead()
        if call.error is not None:
            raise call.error
        assert call.rows is not None
        return call.rows

    def _lead(self) -> None:
        """Run the batch at the head of the queue; the lock is held on entry and return, not while it runs."""
        self._running = True
        batch: list[_Call] = []
        try:
            self._gather()
            size = 0
            while self._waiting and (not batch or size + len(self._waiting[0].items) <= self.max_batch):
                batch.append(self._waiting.popleft())
                size += len(batch[-1].items)
            self._callers = len(batch)
            self._changed.release()
            try:
                self._answer(batch)
            finally:
                self._changed.acquire()
        finally:
            self._running = False
            self._changed.notify_all()

    def _gather(self) -> None:
        """Wait until as many callers as last time are here, a batch is full, or the time is up."""
        until = time.monotonic() + self.max_wait
        while len(self._waiting) < self._callers and sum(len(call.items) for call in self._waiting) < self.max_batch:
            left = until - time.monotonic()
            if left <= 0 or self._closed:
                return
            self._changed.wait(left)

    def _answer(self, batch: list[_Call]) -> None:
        try:
            rows = self.run([item for call in batch for item in call.items])
            bounds = np.cumsum([len(call.items) for call in batch])
            if len(rows) != bounds[-1]:
                raise ContractError(f"{bounds[-1]} items came back as {len(rows)} rows.")
            for call, part in zip(batch, np.split(rows, bounds[:-1]), strict=True):
                call.rows = part
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for call in batch:  # whose items they were is found by running each caller's alone
                self._answer([call])
        except BaseException as error:
            for call in batch:
                if not call.done:
                    call.error = ContractError(f"the batch was interrupted ({type(error).__name__}).")
            raise

    def close(self) -> None:
        """Refuse new calls and return when those under way have their answers."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while self._running or self._waiting:
                self._changed.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MicroBatchedEncoder(Encoder):
    """`encoder`, its text queries gathered by a `MicroBatcher`: put it around the encoder of a server.

    Items, requests with other columns the encoder reads, and batches of `max_batch` and more pass straight through.
    Vectors equal those of single encoding within what the encoder itself allows a batch to move them.
    """

    def __init__(self, encoder: Encoder, *, max_batch: int = 64, max_wait_ms: float = 2.0) -> None:
        super().__init__()
        self.encoder, self.max_batch, self.max_wait_ms = encoder, max_batch, max_wait_ms
        self.consumes = encoder.consumes  # type: ignore[misc]  # what it answers is its encoder's to say
        self.batcher = MicroBatcher(self._run, max_batch=max_batch, max_wait_ms=max_wait_ms)

    @property
    def space(self) -> VectorSpace:
        return self.encoder.space

    def fit(self, catalog: Catalog, *, rng: RNG = 0) -> Self:
        self.encoder = self.encoder.fit(catalog, rng=rng)
        return self

    def _run(self, texts: list[Any]) -> np.ndarray:
        made = self.encoder.encode(Requests.texts(texts), role="query")
        if not isinstance(made, Dense):
            raise ContractError(f"{type(self.encoder).__name__} makes {type(made).__name__}; only Dense is gathered.")
        return made.values

    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Vectors:
        """What `encoder.encode` gives, several threads' queries in one pass.

        Raises:
            ContractError: closed, or the encoder's vectors are not Dense.
        """
        gathered = (
            isinstance(inputs, Requests)
            and role == "query"
            and inputs.columns & set(self.encoder.consumes) == {"text"}
            and 0 < len(inputs) < self.max_batch
        )
        if not gathered:
            return self.encoder.encode(inputs, role=role)
        assert isinstance(inputs, Requests)
        assert inputs.text is not None
        return Dense(self.batcher(inputs.text), self.space)

    def close(self) -> None:
        """Answer what is under way and refuse what comes later."""
        self.batcher.close()

    def save(self, folder: Path) -> None:
        inner = folder / "encoder"
        inner.mkdir()
        self.encoder.save(inner)
        told = {"encoder": self.encoder.path(), "max_batch": self.max_batch, "max_wait_ms": self.max_wait_ms}
        (folder / "micro_batched.json").write_text(json.dumps(told, indent=1))

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = json.loads((folder / "micro_batched.json").read_text())
        encoder: Encoder = load_object(told["encoder"]).open(folder / "encoder")
        return cls(encoder, max_batch=told["max_batch"], max_wait_ms=told["max_wait_ms"])
