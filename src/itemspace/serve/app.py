"""The ASGI application: every request is led, let in, limited, read, answered, counted and logged here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from itemspace.core.errors import shown
from itemspace.serve import openapi
from itemspace.serve.aside import Aside
from itemspace.serve.batching import Gone
from itemspace.serve.body import check_media, from_json, from_query, read_body
from itemspace.serve.config import ServeConfig, is_local
from itemspace.serve.cors import Cors, Headers
from itemspace.serve.errors import Refusal, refusal, unforeseen
from itemspace.serve.keys import Key, Keys, presented, unauthorized
from itemspace.serve.limits import RateLimit
from itemspace.serve.logs import LOGGER, REQUESTS, request_id
from itemspace.serve.metrics import Metrics, shared_folder
from itemspace.serve.rendering import plain
from itemspace.serve.routes import ENDPOINTS
from itemspace.serve.ruling import RuleFile
from itemspace.serve.served import Served
from itemspace.serve.spaces import Spaces, UnknownSpace
from itemspace.serve.table import Call, Endpoint, Raw, Table, segments_of

Systems = Callable[[], Sequence[Mapping[str, Any]]]
NOWHERE, PAGE = "(none)", "(page)"
"""What logs and counters call the paths that are no endpoint."""
_JSON = (b"content-type", b"application/json")
_ALWAYS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


@dataclass
class _Exchange:
    """One request and what became of it."""

    scope: Any
    headers: dict[bytes, bytes]
    id: str
    began: float
    route: str = NOWHERE
    status: int = 0
    refused: str | None = None
    told: dict[str, Any] = field(default_factory=dict)
    started: bool = False
    cors: Headers = ()


class Application:
    """Spaces over HTTP. Give it to an ASGI server; it opens its Spaces when that starts and closes them when it ends."""

    def __init__(
        self,
        config: ServeConfig,
        *,
        systems: Systems | None = None,
        keys: Keys | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """systems: see `create_app`. keys: instead of those that the configuration names. clock: for rate limits, in seconds.

        Raises:
            RecipeError: the configuration cannot be served safely, or names something that is not there.
            RuleError: a file of rules says nothing applicable.
        """
        self.config, self.systems = config, systems
        self.keys = Keys.of(config) if keys is None else keys
        self.keys.check_bind(config)
        config.check_paths()
        self.rules = {name: RuleFile(path) for name, path in config.rules.items()}
        self.metrics = Metrics()
        limits = config.limits
        self.limit = RateLimit(limits.rate_per_s, limits.burst, clock, shared=shared_folder())
        self.table = Table(ENDPOINTS)
        self.openapi = self.dumps(openapi.document(ENDPOINTS, keys=bool(self.keys)))
        self.aside = Aside()
        self.cors = Cors(config.cors_origins)
        self.told_spaces: dict[str, dict[str, Any]] = {}
        self._spaces: Spaces | None = None
        self._page = _page() if config.page else None
        self._at_work = 0

    # Starting and ending

    @property
    def spaces(self) -> Spaces:
        """The opened Spaces.

        Raises:
            Refusal: 503, the server is starting or ending.
        """
        if self._spaces is None:
            raise Refusal(503, "not_ready", "the server is starting or ending.", headers={"Retry-After": "1"})
        return self._spaces

    @property
    def opened(self) -> list[Served]:
        """The Spaces that are open now; none while the server starts or ends."""
        return [] if self._spaces is None else list(self._spaces)

    def ready(self) -> dict[str, bool]:
        """Whether each Space answers."""
        opened = {served.name: served.ready for served in self.opened}
        return {name: opened.get(name, False) for name in self.config.spaces}

    async def start(self) -> None:
        """Open the Spaces.

        Raises:
            ArtifactError: one of them cannot be opened. RuleError: a rule does not fit its columns.
        """
        spaces = await asyncio.to_thread(Spaces.open, self.config)
        try:
            for name, rules in self.rules.items():
                rules.check(spaces.get(name).catalog)
        except BaseException:
            await spaces.close()
            raise
        for served in spaces:
            self.metrics.follow(served)
        self._spaces = spaces

    async def stop(self) -> None:
        """Answer what is under way and close the Spaces."""
        spaces, self._spaces = self._spaces, None
        if spaces is not None:
            await spaces.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Application]:
        """Started for a `with` block."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    # ASGI

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:
            LOGGER.error("the server cannot start: %s", error)
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        at = _Exchange(scope, headers, request_id(headers), time.perf_counter(), cors=self.cors.headers(headers))
        self.metrics.began()
        try:
            raw = await self._answered(at, receive, send)
            if raw is not None:
                await _send(at, raw, send)
        except Gone:
            at.status, at.refused = 499, "gone"
        except asyncio.CancelledError:
            at.status, at.refused = at.status or 499, "gone"
            raise
        finally:
            seconds = time.perf_counter() - at.began
            self.metrics.ended(at.route, at.status, seconds, at.refused)
            self._log(at, seconds)

    async def _answered(self, at: _Exchange, receive: Any, send: Any) -> Raw | None:
        """The answer, a refusal included; None where the page has sent it already."""
        try:
            self._check_host(at)
            asked_before = self.cors.preflight(at.scope["method"], at.headers)
            if asked_before is not None:
                return asked_before
            segments = segments_of(at.scope)
            found = self.table.find(at.scope["method"], segments)
            if found is None:
                await self._page_answer(at, segments, receive, send)
                return None
            endpoint, path = found
            at.route = endpoint.path
            call = Call(self, endpoint, path, at.id, told=at.told)
            return await self._called(at, call, receive)
        except Gone:
            raise
        except Exception as error:
            if at.started:
                raise
            return self._refused(at, error)

    async def _called(self, at: _Exchange, call: Call, receive: Any) -> Raw:
        """What the endpoint answers."""
        endpoint, limits = call.endpoint, self.config.limits
        if endpoint.scope is not None:
            self._admit(at, endpoint.scope)
        if "space" in call.path:
            call.served = self._space(call.path["space"])
            at.told["space"] = call.served.name
        if endpoint.has_body:
            check_media(at.headers)
        if not endpoint.cheap and self._at_work >= limits.max_waiting + self.config.threads:
            told = f"{self._at_work:,} requests are at work already. Try again in a moment."
            raise Refusal(503, "overloaded", told, headers={"Retry-After": "1"})
        self._at_work += 1
        try:
            patience = limits.write_timeout_s if endpoint.writes else limits.timeout_s
            call.asked = await self._asked(at, endpoint, receive, patience)
            async with asyncio.timeout(patience):
                answer = await endpoint.handler(call)
        finally:
            self._at_work -= 1
            if call.served is not None:
                self.metrics.waiting(call.served)
        return answer if isinstance(answer, Raw) else Raw(self.dumps(answer), "application/json")

    async def _asked(self, at: _Exchange, endpoint: Endpoint, receive: Any, patience: float) -> Any:
        """The body, or the query, as its model."""
        if endpoint.request is None:
            return None
        if not endpoint.has_body:
            return from_query(endpoint.request, at.scope.get("query_string", b""))
        limits = self.config.limits
        most = limits.max_write_bytes if endpoint.writes else limits.max_body_bytes
        try:
            async with asyncio.timeout(patience):
                body = await read_body(at.headers, receive, most)
        except TimeoutError:
            told = f"the body was not here within {patience:g} s."
            raise Refusal(408, "slow", told, headers={"Connection": "close"}) from None
        return from_json(endpoint.request, body)

    # Who may ask

    def _check_host(self, at: _Exchange) -> None:
        """A server without keys answers to this machine's names alone: a page elsewhere that points its own name here
        (DNS rebinding) gets nothing."""
        if self.keys:
            return
        host = at.headers.get(b"host", b"").decode("latin-1")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if not is_local(name) and name not in self.config.allowed_hosts:
            raise Refusal(
                421,
                "host",
                f'a server without keys answers to names of its own machine, such as localhost; not to "{shown(name)}". '
                "Configure keys, or name it in allowed_hosts.",
            )

    def _admit(self, at: _Exchange, scope: str) -> None:
        """Let in who has a key for this and asks no oftener than allowed.

        Raises:
            Refusal: 401, 403 or 429.
        """
        given = presented(at.headers) if self.keys else None
        key = None if given is None else self.keys.find(given)
        if key is not None:
            at.told["key"] = key.name  # its name; the key itself is never told
        caller = f"key:{key.name}" if key is not None else f"address:{_client(at, self.config.trusted_proxies)}"
        wait = self.limit.wait(caller)
        if wait > 0:
            told = f"more than {self.limit.rate:g} requests a second. Go on in {wait:.1f} s."
            raise Refusal(429, "too_often", told, headers={"Retry-After": str(math.ceil(wait))})
        if self.keys:
            _check_scope(given, key, scope)

    def _space(self, name: str) -> Served:
        try:
            return self.spaces.get(name)
        except UnknownSpace as error:
            raise Refusal(404, "unknown_space", str(error)) from None

    # The page

    async def _page_answer(self, at: _Exchange, segments: list[str], receive: Any, send: Any) -> None:
        """What is no endpoint is a file of the page, or nothing."""
        strange = any(part in (".", "..") or "/" in part or "\\" in part for part in segments)
        if self._page is None or strange or segments[:1] == ["v1"] or at.scope["method"] not in ("GET", "HEAD"):
            raise Refusal(404, "no_path", "there is nothing at this path. /docs tells what there is.")
        at.route = PAGE
        await self._page(at.scope, receive, _watched(at, send))

    # Telling

    @staticmethod
    def dumps(value: Any) -> bytes:
        """JSON; numbers it has no form for are null."""
        return orjson.dumps(value, default=plain, option=orjson.OPT_SERIALIZE_NUMPY)

    def _refused(self, at: _Exchange, error: Exception) -> Raw:
        found = refusal(error)
        if found is None:
            LOGGER.error(
                "an unforeseen error", exc_info=error, extra={"told": {"request_id": at.id, "route": at.route}}
            )
            found = unforeseen()
        at.refused = found.type
        headers = tuple((name.lower().encode(), value.encode("latin-1")) for name, value in found.headers.items())
        return Raw(self.dumps(found.body(at.id)), "application/json", found.status, headers)

    def _log(self, at: _Exchange, seconds: float) -> None:
        if not REQUESTS.isEnabledFor(logging.INFO):
            return
        told = {
            "request_id": at.id,
            "method": at.scope["method"],
            "route": at.route,
            "status": at.status,
            "ms": round(seconds * 1000.0, 2),
            **at.told,
        }
        if at.refused is not None:
            told["refused"] = at.refused
        REQUESTS.info("request", extra={"told": told})


def _client(at: _Exchange, proxies: Sequence[str]) -> str:
    """The address that asks: behind proxies that are believed, the last one they name that is none of them."""
    client = at.scope.get("client")
    address = client[0] if client else ""
    if address in proxies:
        named = at.headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        address = next((part.strip() for part in reversed(named) if part.strip() not in ("", *proxies)), address)
    return address


def _check_scope(given: str | None, key: Key | None, scope: str) -> None:
    if given is None:
        raise unauthorized("this needs a key: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
    if key is None:
        raise unauthorized("this key is not known here.")
    if key.expired():
        raise unauthorized(f"the key `{key.name}` has expired. Ask for a new one.")
    if scope not in key.scopes:
        raise Refusal(403, "scope", f"the key `{key.name}` is not for {'changing' if scope == 'write' else 'reading'}.")


async def _send(at: _Exchange, raw: Raw, send: Any) -> None:
    at.status, at.started = raw.status, True
    media = _JSON if raw.media == "application/json" else (b"content-type", raw.media.encode())
    length = (b"content-length", str(len(raw.body)).encode())
    headers = [media, length, (b"x-request-id", at.id.encode()), *_ALWAYS, *at.cors, *raw.headers]
    await send({"type": "http.response.start", "status": raw.status, "headers": headers})
    await send({"type": "http.response.body", "body": raw.body})


def _watched(at: _Exchange, send: Any) -> Any:
    """`send` that notes the status and adds the request's id."""

    async def watched(message: Any) -> None:
        if message["type"] == "http.response.start":
            at.status, at.started = message["status"], True
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", at.id.encode()), _ALWAYS[0]]
        await send(message)

    return watched


def _page() -> Any:
    """The routes of the page, as one ASGI application."""
    from starlette.routing import Router

    from itemspace.serve.page import page_routes

    return Router(routes=page_routes(), default=_nothing)


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    raise Refusal(404, "no_path", "there is nothing at this path. /docs tells what there is.")
