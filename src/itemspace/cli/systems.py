"""`systems`: the gallery on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

systems_app = typer.Typer(invoke_without_command=True, help="The gallery: published systems, and what was measured.")


@systems_app.callback()
def listed(
    context: typer.Context,
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    built: Annotated[bool, typer.Option(help="Only systems that can be built.")] = False,
) -> None:
    """List every system with its state."""
    if context.invoked_subcommand is None:
        from itemspace.systems.page import print_table

        print_table(family=family, built=built)
