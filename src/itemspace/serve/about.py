"""The endpoints about what is served: Spaces, their maps and reports, the gallery, health, metrics, documentation."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from itemspace._version import __version__
from itemspace.core.catalog import Catalog
from itemspace.serve import docs_page, metrics, models
from itemspace.serve.asking import recommends
from itemspace.serve.errors import Refusal
from itemspace.serve.served import Served
from itemspace.serve.table import Call, Raw
from itemspace.space import Space

_PACKAGE = Path(__file__).resolve().parents[1]
MOST_FACETS = {"category": 8, "list": 2, "boolean": 2, "number": 3}
"""How many columns of a kind are offered to count by, of those that can be; in this order."""


async def spaces(call: Call) -> dict[str, Any]:
    return {"spaces": [await told(call, served) for served in call.app.spaces]}


async def space(call: Call) -> dict[str, Any]:
    return await told(call, call.space)


async def told(call: Call, served: Served) -> dict[str, Any]:
    """What there is to say of a Space; made once for each state of it."""
    known = call.app.told_spaces.get(served.name)
    if known is not None and (known["generation"], known["version"]) == (served.generation, served.version):
        return known
    made = await served.ask(lambda space: describe(served.name, space))
    call.app.told_spaces[served.name] = made
    return made


def describe(name: str, space: Space) -> dict[str, Any]:
    """A Space as `SpaceInfo`."""
    catalog = space.catalog
    can_recommend = recommends(space)
    return {
        "name": name,
        "items": catalog.count,
        "users": len(space.users),
        "version": space.version,
        "generation": space.generation,
        "retrievers": [name for name in space.retrievers if name != "browse"],
        "similar_by": [*(["text"] if "dense" in space.retrievers else []), *(["behavior"] if can_recommend else [])],
        "recommends": can_recommend,
        "columns": [{"name": column, "kind": kind} for column, kind in catalog.schema],
        "shown": space.shown_columns(),
        "facets": facet_columns(space),
    }


def facet_columns(space: Space) -> list[str]:
    """The columns worth counting by: with more values than one, and values that items share."""
    catalog = space.catalog
    found: list[str] = []
    for kind, most in MOST_FACETS.items():
        columns = catalog.schema.columns(kind)  # type: ignore[arg-type]
        found += [column for column in columns if _is_shared(catalog, column, kind)][:most]
    return found


def _is_shared(catalog: Catalog, column: str, kind: str) -> bool:
    values = catalog.column(column)
    distinct = pc.count_distinct(pc.list_flatten(values) if kind == "list" else values).as_py()
    return distinct > 1 and (kind == "number" or distinct <= max(2, len(catalog) // 2))


async def map_(call: Call) -> dict[str, Any]:
    asked: models.MapRequest = call.asked
    patience = 0.8 * call.app.config.limits.timeout_s
    return await call.app.aside.ask((call.space.name, asked.color), lambda: _map(call.space, asked.color), patience)


def _map(served: Served, color: str | None) -> dict[str, Any]:
    with served.reading() as space:
        made = space.map(color=color)
    points = {
        "x": made.x.tolist(),
        "y": made.y.tolist(),
        "item": made.ids,
        "label": made.labels,
        "color": made.colors.tolist() if made.color_names else [-1] * len(made),
    }
    return {"points": points, "colors": made.color_names, "note": made.note}


async def report(call: Call) -> dict[str, Any]:
    reports = await call.space.ask(lambda space: space.last_report())
    if not reports:
        hint = f"Make one: itemspace evaluate {call.space.path.name}"
        raise Refusal(404, "no_report", f"nothing has been measured of `{call.space.name}` yet. {hint}")
    return {"reports": {name: json.loads(report.to_json()) for name, report in reports.items()}}


async def systems(call: Call) -> dict[str, Any]:
    if call.app.systems is None:
        raise Refusal(404, "no_gallery", "this server was started without the gallery; `itemspace serve` has it.")
    return {"systems": [dict(row) for row in await asyncio.to_thread(call.app.systems)]}


async def source(call: Call) -> dict[str, Any]:
    """The file of a system. Only files that the gallery's own listing names are read, never a path from the request."""
    slug = call.path["slug"]
    rows = [] if call.app.systems is None else await asyncio.to_thread(call.app.systems)
    path = next((row["source"] for row in rows if row["slug"] == slug), None)
    if path is None:
        raise Refusal(404, "no_source", f"no system `{slug}` is built here; GET /v1/systems lists those that are.")
    text = await asyncio.to_thread((_PACKAGE / path).read_text, encoding="utf-8")
    return {"slug": slug, "path": path, "text": text}


async def reload(call: Call) -> dict[str, Any]:
    reloaded = await call.space.reload()
    return {"reloaded": reloaded, "generation": call.space.generation, "version": call.space.version}


async def health(call: Call) -> dict[str, Any]:
    return {"status": "ok", "itemspace": __version__}


async def ready(call: Call) -> Raw:
    states = call.app.ready()
    every = bool(states) and all(states.values())
    return Raw(call.app.dumps({"ready": every, "spaces": states}), "application/json", 200 if every else 503)


async def prometheus(call: Call) -> Raw:
    return Raw(call.app.metrics.text(call.app.opened), metrics.MEDIA)


async def openapi(call: Call) -> Raw:
    return Raw(call.app.openapi, "application/json")


async def docs(call: Call) -> Raw:
    made = docs_page.page(json.loads(call.app.openapi))
    return Raw(made.encode(), "text/html; charset=utf-8", headers=((b"content-security-policy", docs_page.POLICY),))
