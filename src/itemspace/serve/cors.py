"""Pages of other origins that may ask from a browser: those named, and nobody else. Keys come in headers, never as cookies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from itemspace.serve.table import Raw

Headers = tuple[tuple[bytes, bytes], ...]
KEPT_S = 600
"""How long a browser may remember what it was allowed."""
_ALLOWED: Headers = (
    (b"access-control-allow-methods", b"GET, POST, PATCH"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, X-API-Key, X-Request-ID"),
    (b"access-control-max-age", str(KEPT_S).encode()),
)
_SHOWN = (b"access-control-expose-headers", b"X-Request-ID, Retry-After, WWW-Authenticate")


class Cors:
    """What browsers are told of the origins in an allow-list (compared whole, as browsers send them)."""

    def __init__(self, origins: Iterable[str] = ()) -> None:
        self._origins = frozenset(origin.encode("ascii") for origin in origins)

    def headers(self, asked: Mapping[bytes, bytes]) -> Headers:
        """What an answer to a request with these headers carries; nothing where no origin is allowed."""
        if not self._origins:
            return ()
        vary = (b"vary", b"Origin")  # or a cache between would give one origin's answer to another
        origin = asked.get(b"origin", b"")
        return ((b"access-control-allow-origin", origin), _SHOWN, vary) if origin in self._origins else (vary,)

    def preflight(self, method: str, asked: Mapping[bytes, bytes]) -> Raw | None:
        """The answer to a browser that asks beforehand for an allowed origin; None for any other request."""
        if method != "OPTIONS" or b"access-control-request-method" not in asked:
            return None
        if asked.get(b"origin", b"") not in self._origins:
            return None
        return Raw(b"", "text/plain", 204, _ALLOWED)
