"""`store`: where a Space keeps its record: its versions, snapshots and rollback, and moving it to another database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from itemspace.cli.ask import JSONOption, SpacePath

store_app = typer.Typer(no_args_is_help=True, help="A Space's record: versions, snapshots, rollback, another database.")
_SHOWN = 20


@store_app.command("versions")
def versions(
    space: SpacePath,
    every: Annotated[bool, typer.Option("--all", help=f"Every version kept, not the last {_SHOWN} only.")] = False,
    as_json: JSONOption = False,
) -> None:
    """The versions that can be brought back, newest first, and the snapshots."""
    from datetime import datetime

    from itemspace.cli.render import print_json
    from itemspace.space import Space

    with Space.open(space) as opened:
        kept, tags = opened.versions(), opened.snapshots()
    if as_json:
        print_json({"versions": {str(v): at for v, at in kept.items()}, "snapshots": tags})
        return
    named: dict[int, list[str]] = {}
    for tag, version in tags.items():
        named.setdefault(version, []).append(tag)
    newest = sorted(kept, reverse=True)
    for place, version in enumerate(newest if every else newest[:_SHOWN]):
        at = (
            datetime.fromtimestamp(kept[version]).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
            if kept[version]
            else "-"
        )
        told = (["now"] if place == 0 else []) + [f'snapshot "{tag}"' for tag in named.get(version, [])]
        print(f"{version:>8}  {at}  {', '.join(told)}".rstrip())
    if not every and len(newest) > _SHOWN:
        print(f"and {len(newest) - _SHOWN:,} older ones (--all)")
    old = [f'"{tag}" (version {version})' for tag, version in tags.items() if version not in newest[:_SHOWN]]
    if old:
        print(f"snapshots: {', '.join(old)}")


@store_app.command("snapshot")
def snapshot(
    space: SpacePath,
    name: Annotated[str, typer.Argument(help="Letters, digits, '.', '_' and '-'.")],
    drop: Annotated[bool, typer.Option("--drop", help="Let this snapshot go instead.")] = False,
) -> None:
    """Name the present state, so that it can be brought back at any later time."""
    from itemspace.space import Space

    with Space.open(space) as opened:
        if drop:
            opened.drop_snapshot(name)
            print(f'The snapshot "{name}" is gone.')
            return
        version = opened.snapshot(name)
        print(
            f'Version {version} is the snapshot "{name}". Bring it back: itemspace store rollback {space} --to {name}'
        )


@store_app.command("rollback")
def rollback(
    space: SpacePath,
    to: Annotated[str, typer.Option("--to", help="A version, or a snapshot's name: see `itemspace store versions`.")],
) -> None:
    """Bring items, vectors and events back as they were (undo a bad import). What is undone becomes a version too."""
    from itemspace.space import Space

    with Space.open(space) as opened:
        wanted: str | int = int(to) if to.isdecimal() and to not in opened.snapshots() else to
        before = opened.version
        opened.restore(wanted)
        what = f"version {wanted}" if isinstance(wanted, int) else f'the snapshot "{wanted}"'
        print(f"Everything is as in {what}, as version {opened.version}: {opened.describe()}")
        print(f"To undo this: itemspace store rollback {space} --to {before}")


@store_app.command("copy")
def copy(
    source: Annotated[Path, typer.Argument(help="The Space to copy.")],
    target: Annotated[Path, typer.Argument(help="Where the copy goes.")],
    to: Annotated[str, typer.Option("--to", help="The store to keep it in: lancedb, postgres, milvus.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="An option of that store: url=env:NAME.")] = None,
) -> None:
    """Copy a Space into another store, and prove that it answers the same. The copy is there when it is complete."""
    from rich.console import Console

    from itemspace.recipe import Recipe
    from itemspace.space.copying import copy_space

    console = Console(stderr=True)
    assignments = [f"store.name={to}", *(f"store.{option}" for option in set_ or [])]
    part = Recipe().override(assignments).store
    copied = copy_space(source, target, part, say=console.print)
    console.print(f"Copied {source} to {target} ({to}): {copied}.")
