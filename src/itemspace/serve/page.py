"""The page that tries a Space: a few files from an allow-list, with a policy under which nothing else runs or loads."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from itemspace.core.extras import require

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

FOLDER = Path(__file__).resolve().parent / "page"
INDEX = "index.html"
FILES = (
    "api.js",
    "app.js",
    "base.css",
    "chart.js",
    "combobox.js",
    "compare.js",
    "dom.js",
    "filters.js",
    "format.js",
    "gallery.js",
    "history.js",
    "icon.svg",
    "item.js",
    "map.js",
    "mapview.js",
    "parts.js",
    "recommend.js",
    "report.js",
    "search.js",
    "theme.js",
    "views.css",
    "where.js",
    "why.js",
)
"""Everything under `static/`; nothing else is ever read."""

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # Text can never become markup: assigning to innerHTML is an error everywhere on the page.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Kept by the browser, but asked for again by its ETag: an upgrade shows at once.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True)
class Page:
    """One file, read once: its bytes, plain and compressed, with their tags."""

    media: str
    plain: bytes
    packed: bytes
    tag: str

    @classmethod
    def read(cls, path: Path) -> Page:
        data = path.read_bytes()
        tag = hashlib.sha256(data).hexdigest()[:32]
        return cls(TYPES[path.suffix], data, gzip.compress(data, 9, mtime=0), tag)

    def answer(self, headers: Mapping[str, str]) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers for a request with these headers (names in lower case)."""
        packs = any(coding.split(";")[0].strip() == "gzip" for coding in headers.get("accept-encoding", "").split(","))
        tag = f'"{self.tag}{"-gzip" if packs else ""}"'
        sent = {**HEADERS, "ETag": tag}
        known = {part.strip().removeprefix("W/") for part in headers.get("if-none-match", "").split(",")}
        if tag in known or "*" in known:
            return 304, b"", sent
        if packs:
            sent["Content-Encoding"] = "gzip"
        return 200, self.packed if packs else self.plain, {**sent, "Content-Type": self.media}


def page_routes() -> list[Route]:
    """Routes of the page for a Starlette application: `/`, and `/static/{file}` for the files of the allow-list.

    The page's addresses are relative, so the routes also work mounted under a prefix or behind a proxy that adds one.

    Raises:
        MissingExtraError: the server's extra is not installed.
    """
    routing = require("starlette.routing", extra="serve", needed_for="the page")
    responses = require("starlette.responses", extra="serve", needed_for="the page")
    pages = {name: Page.read(FOLDER / name) for name in (INDEX, *FILES)}

    def send(page: Page, request: Request) -> Response:
        status, body, headers = page.answer(request.headers)
        response: Response = responses.Response(body, status, headers)
        return response

    async def index(request: Request) -> Response:
        return send(pages[INDEX], request)

    def static(name: str) -> Route:
        async def one(request: Request) -> Response:
            return send(pages[name], request)

        route: Route = routing.Route(f"/static/{name}", one, name=f"static:{name}")
        return route

    return [routing.Route("/", index, name="page"), *(static(name) for name in FILES)]
