"""What the supervisor tells a worker."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Plan:
    """What a worker is told.

    config: the server's, as JSON. app: the import path of what makes the application of it. systems: the import path of
    what lists the gallery, or None. sockets: its listening sockets, by file number. others: those of the other workers, whose
    connections it takes where their worker does not. ready: a pipe to say "ready" into.
    linger_s: how long clients that keep a connection are given to make their next request, which is the connection's
    last, before it is closed. drain_s: how long requests under way may take when the worker is to end.
    """

    config: dict[str, Any]
    app: str
    systems: str | None
    sockets: tuple[int, ...]
    others: tuple[int, ...]
    ready: int
    linger_s: float
    drain_s: float

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls) -> Self:
        """From standard input, leaving what comes after its line."""
        line = bytearray()
        while not line.endswith(b"\n"):
            byte = os.read(0, 1)
            if not byte:
                raise SystemExit("a worker is started by the server: itemspace serve")
            line += byte
        return cls(**json.loads(line))
