"""`serve`: Spaces over HTTP."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer


def serve(
    spaces: Annotated[list[Path] | None, typer.Argument(help="Spaces, each served under its file name.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="NAME=PATH: a Space under another name. Repeatable.")] = None,
    host: Annotated[
        str | None, typer.Option(help="The address to listen at; other than this machine needs a key.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that answer.")] = None,
    threads: Annotated[int | None, typer.Option(help="Reads that one process answers at a time.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with all of this; options win.")] = None,
    keys: Annotated[Path | None, typer.Option(help="A file of API keys.")] = None,
    rules: Annotated[
        list[str] | None, typer.Option(help="NAME=PATH: merchandising rules of a Space. Repeatable.")
    ] = None,
) -> None:
    """Serve Spaces over HTTP, with a page to try them. SIGTERM or Ctrl-C stops it in order."""
    from itemspace.serve.config import ServeConfig
    from itemspace.serve.run import Supervisor

    told: dict[str, Any] = {"host": host, "port": port, "workers": workers, "threads": threads}
    told["key_file"] = None if keys is None else str(keys)
    told["spaces"] = named(spaces or [], name or [])
    told["rules"] = _pairs(rules or [], "--rules")
    given = {key: value for key, value in told.items() if value not in (None, {})}
    supervisor = Supervisor(
        ServeConfig.load(config, given),
        systems="itemspace.cli.serve:gallery",
        say=lambda line: typer.echo(line, err=True),
    )
    status = supervisor.run()
    if status:
        raise typer.Exit(status)


def named(paths: list[Path], pairs: list[str]) -> dict[str, str]:
    """Name -> path of the Spaces given by path (named by their file name) and as NAME=PATH.

    Raises:
        RequestError: two of one name, or something else than NAME=PATH.
    """
    from itemspace.core.errors import RequestError

    found = _pairs(pairs, "--name")
    for path in paths:
        stem = path.resolve().name.removesuffix(".space")
        key = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in stem).strip("-_") or "space"
        if key in found:
            raise RequestError(f"two Spaces would be called `{key}`. Name one: --name OTHER={path}")
        found[key] = str(path)
    return found


def _pairs(given: list[str], option: str) -> dict[str, str]:
    from itemspace.core.errors import RequestError

    found: dict[str, str] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not (key and equals and value):
            raise RequestError(f'{option} takes NAME=PATH, got "{one}".')
        if key in found:
            raise RequestError(f"{option} names `{key}` twice.")
        found[key] = value
    return found


@cache
def gallery() -> list[dict[str, Any]]:
    """The gallery's rows as `GET /v1/systems` tells them."""
    from itemspace.systems.page import gallery_rows

    return gallery_rows()
