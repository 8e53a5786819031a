"""`/docs`: the OpenAPI document as a page to read. No script, no network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

POLICY = b"default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h3 { margin: 1.2rem 0 .2rem; font-size: 1rem; } h2 { font-size: 1.2rem; margin-top: 2rem; border-bottom: 1px solid var(--line); }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; overflow-wrap: anywhere; } summary b { display: inline-block; min-width: 4rem; }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; padding: .6rem; font-size: .85rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; display: block; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); }
.scope { float: right; font-size: .8rem; opacity: .75; }
"""


def page(document: Mapping[str, Any]) -> str:
    """The whole page."""
    return "\n".join(_lines(document))


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>itemspace: HTTP API</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{_STYLE}</style></head><body><h1>itemspace {escape(info['version'])}: HTTP API</h1>"
    yield f'<p>{escape(info["description"])} The same for programs: <a href="openapi.json">openapi.json</a>.</p>'
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2>"
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(document, path, method, operation)
    yield "<h2>Forms</h2>"
    for name, schema in document["components"]["schemas"].items():
        if not name.endswith(("Request", "Answer")) and schema.get("properties"):
            yield f"<h3>{escape(name)}</h3><p>{escape(schema.get('description', ''))}</p>"
            yield from _table("Field", schema["properties"], ())
    yield "</body></html>"


def _operation(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    scope = operation.get("x-scope")
    told = f'<span class="scope">{escape(scope)} key</span>' if scope else ""
    yield f'<details id="{escape(operation["operationId"])}"><summary>{told}<b>{method.upper()}</b> '
    yield f"<code>{escape(path)}</code> {escape(operation['summary'])}</summary>"
    if "description" in operation:
        yield f"<p>{escape(operation['description'])}</p>"
    body = _schema(document, operation.get("requestBody"))
    yield f"<pre>{escape(_curl(path, method, body, operation))}</pre>"
    query = [part for part in operation["parameters"] if part["in"] == "query"]
    if query:
        fields = {part["name"]: part["schema"] for part in query}
        yield from _table("Query", fields, [part["name"] for part in query if part["required"]])
    if body is not None:
        yield from _table("Body", body.get("properties", {}), body.get("required", ()))
    answer = _schema(document, operation["responses"]["200"])
    if answer is not None and answer.get("properties"):
        yield f"<p>{escape(operation['responses']['200']['description'])}</p>"
        yield from _table("Answer", answer["properties"], ())
        for example in answer.get("examples", ()):
            yield f"<pre>{escape(json.dumps(example, indent=1, ensure_ascii=False))}</pre>"
    errors = [status for status in operation["responses"] if status != "200"]
    responses = document["components"]["responses"]
    yield "<table><tr><th>Refused with</th><th></th></tr>"
    for status in errors:
        if status in responses:
            yield f"<tr><td>{status}</td><td>{escape(responses[status]['description'])}</td></tr>"
    yield "</table></details>"


def _table(title: str, fields: Mapping[str, Any], required: Any) -> Iterator[str]:
    yield f"<table><tr><th>{title}</th><th>type</th><th>default</th><th></th></tr>"
    for name, schema in sorted(fields.items(), key=lambda field: field[0] not in required):
        default = "required" if name in required else json.dumps(schema["default"]) if "default" in schema else ""
        told = schema.get("description") or next(
            (part["description"] for part in schema.get("anyOf", ()) if "description" in part), ""
        )
        cells = (f"<code>{escape(name)}</code>", escape(_kind(schema)), escape(default), escape(told))
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    yield "</table>"


def _kind(schema: Mapping[str, Any]) -> str:
    """A type in a word or two."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(part) for part in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if "const" in schema or "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
    return str(schema.get("type", "anything"))


def _schema(document: Mapping[str, Any], holder: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The schema of a JSON body or answer."""
    content = (holder or {}).get("content", {}).get("application/json")
    if content is None:
        return None
    name = str(content["schema"].get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = document["components"]["schemas"].get(name, content["schema"])
    return found


def _curl(path: str, method: str, body: Mapping[str, Any] | None, operation: Mapping[str, Any]) -> str:
    query = "&".join(
        f"{part['name']}=..." for part in operation["parameters"] if part["in"] == "query" and part["required"]
    )
    words = [f"curl http://127.0.0.1:8000{path}{'?' + query if query else ''}"]
    if method != "get":
        words.append(f"-X {method.upper()}")
    if "security" in operation:
        words.append('-H "Authorization: Bearer $KEY"')
    if body is not None:
        example = json.dumps(body.get("examples", [{}])[0])
        words.append(f"-H 'Content-Type: application/json' -d '{example}'")
    return " \\\n  ".join(words)
