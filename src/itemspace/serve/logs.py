"""One line per request: as JSON for a machine to read, or as words. Never a key, and no query text unless configured."""

from __future__ import annotations

import logging
import re
import secrets
import sys
import time
from collections.abc import Mapping
from typing import Any, Literal

import orjson

LOGGER = logging.getLogger("itemspace.serve")
REQUESTS = logging.getLogger("itemspace.serve.requests")
_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """The request's own `X-Request-ID` where it can stand in a log and a header, else a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode("ascii") if _ID.fullmatch(given) else secrets.token_hex(8)


class JsonLines(logging.Formatter):
    """A record as one JSON object: time, level, message, and what was told with it."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": _stamp(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        entry |= getattr(record, "told", {})
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str).decode()


class Words(logging.Formatter):
    """A record as a line for a person."""

    def format(self, record: logging.LogRecord) -> str:
        told = " ".join(f"{name}={value}" for name, value in getattr(record, "told", {}).items())
        line = f"{_stamp(record.created)} {record.levelname.lower()} {record.getMessage()} {told}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(format: Literal["json", "text", "off"]) -> None:
    """Send the server's log to standard output; "off" leaves errors only, on standard error."""
    handler = logging.StreamHandler(sys.stderr if format == "off" else sys.stdout)
    handler.setFormatter(JsonLines() if format == "json" else Words())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(logging.ERROR if format == "off" else logging.INFO)
    LOGGER.propagate = False


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
