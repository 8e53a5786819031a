"""How a store reaches Milvus: a server by its address, or an embedded one in the store's own folder.

The embedded engine (milvus-lite) opens a folder in one process only. So the process that opens it first serves the others
of this machine over the loopback, says where in the file `SERVER`, and when it ends the next one that asks takes over.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from itemspace.core.errors import ArtifactError, FormatVersionError
from itemspace.core.extras import require
from itemspace.core.files import fsync_file, write_json_atomic
from itemspace.store.contract import UnreachableError
from itemspace.store.urls import hidden, resolved

FILE, SERVER = "milvus.db", "SERVER"
CONNECT_SECONDS = 30
"""Seconds in which a server must answer."""
_PATIENCE = 15.0
"""Seconds in which some process must come to serve an embedded store."""


class _Hosted:
    """The embedded servers of this process: folder -> (server, database, port, users)."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.running: dict[Path, list[Any]] = {}

    def start(self, folder: Path) -> str | None:
        """The address of the server over a folder, running in this process; None where another process has it."""
        with self.guard:
            if folder in self.running:
                self.running[folder][3] += 1
                return f"http://127.0.0.1:{self.running[folder][2]}"
            what = "An embedded Milvus store"
            engine = require("milvus_lite.adapter.grpc.server", extra="milvus", needed_for=what)
            locked = require("milvus_lite.exceptions", extra="milvus", needed_for=what).DataDirLockedError
            try:
                server, database, port = engine.start_server_in_thread(str(folder / FILE))
            except locked:
                return None
            self.running[folder] = [server, database, port, 1]
            write_json_atomic(folder / SERVER, {"port": port, "process": os.getpid()})
            return f"http://127.0.0.1:{port}"

    def stop(self, folder: Path) -> None:
        """One user less; the last one ends the server."""
        with self.guard:
            entry = self.running.get(folder)
            if entry is None:
                return
            entry[3] -= 1
            if entry[3]:
                return
            del self.running[folder]
            (folder / SERVER).unlink(missing_ok=True)
            entry[0].stop(grace=2).wait()
            entry[1].close()


_HOSTED = _Hosted()


class MilvusConnection:
    """One store object's way to its server; several threads may use it."""

    def __init__(self, folder: Path, url: str | None, token: str | None, what: str) -> None:
        self.folder, self.url, self.token, self.what = folder.absolute(), url, token, what
        self._client: Any = None
        self._port = 0
        self._hosting = False
        self._loaded: set[str] = set()
        self._guard = threading.RLock()

    @property
    def embedded(self) -> bool:
        """Whether the data is in the store's own folder."""
        return self.url is None

    def client(self) -> Any:
        """The client, connected; to whoever serves the folder by now, where it is embedded.

        Raises:
            ArtifactError: nobody answers.
        """
        with self._guard:
            if self._client is not None and (self.url is not None or self._hosting or _answers(self._port)):
                return self._client
            self._forget()
            with self.answering():
                self._client = self._by_address() if self.url is not None else self._in_folder()
            return self._client

    def _by_address(self) -> Any:
        pymilvus = require("pymilvus", extra="milvus", needed_for="A store in Milvus")
        assert self.url is not None
        token = resolved(self.token, what=self.what) if self.token is not None else ""
        return pymilvus.MilvusClient(uri=resolved(self.url, what=self.what), token=token, timeout=CONNECT_SECONDS)

    def _in_folder(self) -> Any:
        pymilvus = require("pymilvus", extra="milvus", needed_for="A store in Milvus")
        if not self.folder.is_dir():
            raise ArtifactError(f"{self.folder} does not exist.")
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            self._port = _told_port(self.folder)
            if self.folder not in _HOSTED.running and _answers(self._port):
                with contextlib.suppress(pymilvus.MilvusException):
                    return pymilvus.MilvusClient(uri=f"http://127.0.0.1:{self._port}", timeout=5)
            address = _HOSTED.start(self.folder)
            if address is not None:
                self._hosting = True
                return pymilvus.MilvusClient(uri=address, timeout=CONNECT_SECONDS)
            time.sleep(0.02)
        raise UnreachableError(f"{self.what} is open in another process, which does not answer.")

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn the client's errors into ones that say which store.

        Raises:
            ArtifactError: the server does not answer, or refuses.
        """
        pymilvus = require("pymilvus", extra="milvus", needed_for="A store in Milvus")
        try:
            yield
        except (ArtifactError, FormatVersionError):
            raise
        except (pymilvus.MilvusException, OSError) as error:
            told = hidden(str(error).strip()).rstrip(".")
            if isinstance(error, OSError) or not getattr(error, "code", 0) or error.code == 2:  # 2: no connection
                raise UnreachableError(f"{self.what}: Milvus does not answer ({told}).") from error
            raise ArtifactError(f"{self.what}: Milvus does not do it ({told}).") from error

    def call(self, method: str, *given: Any, **named: Any) -> Any:
        """One call of the client."""
        client = self.client()
        with self.answering():
            return getattr(client, method)(*given, **named)

    def loaded(self, collection: str) -> str:
        """The collection, ready to be read: a server that has just started has loaded none."""
        client = self.client()
        if collection not in self._loaded:
            with self.answering():
                client.load_collection(collection)
            self._loaded.add(collection)
        return collection

    def query(self, collection: str, condition: str, fields: list[str], *, page: int) -> list[dict[str, Any]]:
        """Every row that meets a condition, a page at a time where there are many."""
        name = self.loaded(collection)
        found = self.call("query", name, filter=condition, output_fields=fields, limit=page)
        if len(found) < page:
            return list(found)
        rows: list[dict[str, Any]] = []
        client = self.client()
        with self.answering():
            pages = client.query_iterator(name, batch_size=page, filter=condition, output_fields=fields)
            try:
                while batch := pages.next():
                    rows += batch
            finally:
                pages.close()
        return rows

    def sync(self) -> None:
        """Have the disk hold what an embedded server has written ahead; a server elsewhere sees to that itself."""
        if self.embedded:
            for file in (self.folder / FILE).rglob("wal_*.arrow"):
                with contextlib.suppress(FileNotFoundError):  # flushed to its segment meanwhile
                    fsync_file(file)

    def bytes(self) -> int:
        """Bytes of the folder of an embedded store."""
        return sum(p.stat().st_size for p in (self.folder / FILE).rglob("*") if p.is_file())

    def _forget(self) -> None:
        client, self._client = self._client, None
        self._loaded.clear()
        if client is not None:
            with contextlib.suppress(Exception):  # the connection is gone either way
                client.close()
        if self._hosting:
            self._hosting = False
            _HOSTED.stop(self.folder)

    def close(self) -> None:
        """Give the connection back, and stop serving where nobody in this process needs it."""
        with self._guard:
            self._forget()


def _told_port(folder: Path) -> int:
    """The port at which a process says that it serves the folder; 0 where none does."""
    try:
        return int(json.loads((folder / SERVER).read_text())["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _answers(port: int) -> bool:
    if not port:
        return False
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False
