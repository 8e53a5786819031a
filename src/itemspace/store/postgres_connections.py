"""Connections to PostgreSQL: a few for readers, one for the writer, who has its place by an advisory lock.

The lock belongs to the connection: it ends when the process that holds it does, whatever became of it. Who holds it is in
the connection's application name: "itemspace PROCESS@HOST".
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from itemspace.core.errors import ArtifactError, InUseError
from itemspace.core.extras import require
from itemspace.store.contract import UnreachableError
from itemspace.store.urls import hidden, resolved

_DEAD_WRITER = 20.0
"""Seconds that the server may take to notice that the process of a writer on this machine has gone."""
_KEPT = 4
_HOLDER = """
SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND ((l.classid::bigint << 32) | l.objid::bigint) = %s
"""


def driver() -> Any:
    """psycopg.

    Raises:
        MissingExtraError: it is not installed.
    """
    return require("psycopg", extra="postgres", needed_for="A store in PostgreSQL")


def process_name() -> str:
    """How this process is known to the server."""
    return f"itemspace {os.getpid()}@{socket.gethostname()}"[:63]


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Turn the driver's errors into ones that say which store, and what to do.

    Raises:
        UnreachableError: the server does not answer. ArtifactError: it refuses, or its tables were changed.
    """
    psycopg = driver()
    try:
        yield
    except psycopg.OperationalError as error:
        raise UnreachableError(f"{what}: the database does not answer ({_first_line(error)}).") from error
    except psycopg.Error as error:
        raise ArtifactError(f"{what}: the database refuses: {_first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    return hidden(next(iter(str(error).strip().splitlines()), type(error).__name__)).rstrip(".")


class Connections:
    """The connections of one store object. Readers may come from several threads; there is one writer."""

    def __init__(self, url: str, *, lock: str, what: str, fsync: bool = True) -> None:
        self.url, self.what, self._fsync = url, what, fsync
        self._key = int.from_bytes(hashlib.blake2b(lock.encode(), digest_size=8).digest(), "big", signed=True)
        self._idle: list[Any] = []
        self._guard = threading.Lock()
        self._writer: Any = None
        self._held = False

    def _connect(self) -> Any:
        psycopg = driver()
        with answering(self.what):
            return psycopg.connect(
                resolved(self.url, what=self.what), autocommit=True, application_name=process_name(), connect_timeout=10
            )

    @contextmanager
    def reader(self) -> Iterator[Any]:
        """A connection for a while."""
        with self._guard:
            found = self._idle.pop() if self._idle else None
        if found is None or found.closed or found.broken:
            found = self._connect()
        try:
            with answering(self.what):
                yield found
        except BaseException:
            # Whatever it was in the middle of, nobody reads on there.
            found.close()
            raise
        with self._guard:
            if len(self._idle) < _KEPT:
                self._idle.append(found)
                return
        found.close()

    @property
    def held(self) -> bool:
        """Whether the writer's place is this object's; a lost connection loses it."""
        return self._held and not (self._writer.closed or self._writer.broken)

    @property
    def writer(self) -> Any:
        """The connection that holds the writer's place."""
        return self._writer

    def hold(self) -> bool:
        """Take the writer's place; whether it had to be taken.

        Raises:
            InUseError: another connection has it; names the process.
        """
        if self.held:
            return False
        if self._writer is None or self._writer.closed or self._writer.broken:
            self._writer = self._connect()
            # A statement whose client has gone must not run on, and keep the place, for long (where the system can tell).
            with suppress(driver().Error):
                self._writer.execute("SET client_connection_check_interval = '200ms'")
            with answering(self.what):
                if not self._fsync:
                    self._writer.execute("SET synchronous_commit = off")
        until = time.monotonic() + _DEAD_WRITER
        with answering(self.what):
            while not self._writer.execute("SELECT pg_try_advisory_lock(%s)", (self._key,)).fetchone()[0]:
                holder = self._writer.execute(_HOLDER, (self._key,)).fetchone()
                if time.monotonic() > until or (holder is not None and _alive(holder[0])):
                    raise InUseError(
                        f"{self.what} is being written by {_told(holder)}. Wait until it ends, or close it there first."
                    )
                time.sleep(0.01)
        self._held = True
        return True

    def let_go(self) -> None:
        """Give the writer's place back."""
        if self.held:
            with suppress(driver().Error):
                self._writer.execute("SELECT pg_advisory_unlock(%s)", (self._key,))
        self._held = False

    def close(self) -> None:
        """Close every connection."""
        self.let_go()
        with self._guard:
            idle, self._idle = self._idle, []
        for connection in (*idle, self._writer):
            if connection is not None:
                connection.close()
        self._writer = None


def _parsed(name: str) -> tuple[int, str]:
    """The process and the host of a holder; 0 where it is none of ours."""
    process, _, host = name.removeprefix("itemspace ").partition("@")
    return (int(process), host) if name.startswith("itemspace ") and process.isdigit() else (0, "")


def _alive(name: str) -> bool:
    process, host = _parsed(name)
    if not process or host != _parsed(process_name())[1]:
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _told(holder: Any) -> str:
    if holder is None:
        return "another process"
    process, host = _parsed(holder[0])
    if not process:
        return f'the connection "{hidden(holder[0])}"'
    return f"process {process}" + ("" if host == _parsed(process_name())[1] else f" on {host}")
