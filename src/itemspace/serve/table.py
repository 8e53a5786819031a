"""The endpoints as one typed table: requests are led by it and the OpenAPI document is written from it, so they agree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, unquote_to_bytes

from pydantic import BaseModel

from itemspace.serve.errors import Refusal
from itemspace.serve.models import Asked

if TYPE_CHECKING:
    from itemspace.search.rules import Rules
    from itemspace.serve.app import Application
    from itemspace.serve.served import Served

Scope = Literal["read", "write"]
Handler = Callable[["Call"], Awaitable[Any]]


@dataclass(frozen=True)
class Raw:
    """An answer that is not JSON made here: its bytes as they are."""

    body: bytes
    media: str
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class Endpoint:
    """One method of one path, what it takes and gives, and who may call it.

    request: the body of POST, PATCH and PUT, the query of GET. scope: None for anybody. writes: it changes something, and so has
    the limits of writes. cheap: answered even while the server refuses what it has no room for. errors: statuses that
    the callers of this endpoint should know, beyond those every endpoint has.
    """

    method: Literal["GET", "POST", "PATCH"]
    path: str
    handler: Handler
    answer: type[BaseModel] | None
    summary: str
    tag: str
    request: type[Asked] | None = None
    scope: Scope | None = "read"
    writes: bool = False
    cheap: bool = False
    errors: tuple[int, ...] = ()
    media: str = "application/json"

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters in the path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @property
    def has_body(self) -> bool:
        return self.request is not None and self.method != "GET"


@dataclass
class Call:
    """One request on its way: what was asked, and what the log is to say of it."""

    app: Application
    endpoint: Endpoint
    path: dict[str, str]
    request_id: str
    asked: Any = None
    served: Served | None = None
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def space(self) -> Served:
        """The Space that the path names."""
        assert self.served is not None
        return self.served

    @property
    def rules(self) -> Rules | None:
        """The merchandising rules of that Space; None where there are none."""
        file = self.app.rules.get(self.space.name)
        rules = None if file is None else file.current(self.space.catalog)
        return rules or None


@dataclass
class _Node:
    literal: dict[str, _Node] = field(default_factory=dict)
    named: _Node | None = None
    methods: dict[str, Endpoint] = field(default_factory=dict)


class Table:
    """Endpoints by path and method."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        self._root = _Node()
        for endpoint in self.endpoints:
            node = self._root
            for part in endpoint.path.split("/")[1:]:
                if part.startswith("{"):
                    node.named = node.named or _Node()
                    node = node.named
                else:
                    node = node.literal.setdefault(part, _Node())
            node.methods[endpoint.method] = endpoint

    def find(self, method: str, segments: list[str]) -> tuple[Endpoint, dict[str, str]] | None:
        """The endpoint for a path and its parameters; None where no endpoint has that path. HEAD is asked like GET.

        Raises:
            Refusal: 405, the path knows other methods.
        """
        wanted = "GET" if method == "HEAD" else method
        known: set[str] = set()
        for node, values in _walk(self._root, segments, 0, ()):
            endpoint = node.methods.get(wanted)
            if endpoint is not None:
                return endpoint, dict(zip(endpoint.names, values, strict=True))
            known.update(node.methods)
        if not known:
            return None
        allowed = ", ".join(sorted(known | ({"HEAD"} if "GET" in known else set())))
        raise Refusal(405, "method", f"this path takes {allowed}, not {method}.", headers={"Allow": allowed})


def _walk(
    node: _Node, segments: list[str], at: int, values: tuple[str, ...]
) -> Iterator[tuple[_Node, tuple[str, ...]]]:
    """Every node that the segments lead to, literal ones before named ones."""
    if at == len(segments):
        if node.methods:
            yield node, values
        return
    segment = segments[at]
    if segment in node.literal:
        yield from _walk(node.literal[segment], segments, at + 1, values)
    if node.named is not None and segment:
        yield from _walk(node.named, segments, at + 1, (*values, segment))


def segments_of(scope: Any) -> list[str]:
    """The parts of a request's path, each decoded by itself: an encoded slash stays inside its part.

    Raises:
        Refusal: 400, the path is not UTF-8 or has control characters.
    """
    raw = scope.get("raw_path")
    path: bytes = quote(scope["path"]).encode() if raw is None else raw.partition(b"?")[0]
    if b"%" not in path:
        text = path.decode("latin-1")
        if text.isascii() and text.isprintable():
            return text.split("/")[1:]
    try:
        parts = [unquote_to_bytes(part).decode("utf-8") for part in path.split(b"/")[1:]]
    except UnicodeDecodeError:
        raise Refusal(400, "path", "the path is not UTF-8.") from None
    if any(ord(character) < 32 or ord(character) == 127 for part in parts for character in part):
        raise Refusal(400, "path", "the path has control characters.")
    return parts
