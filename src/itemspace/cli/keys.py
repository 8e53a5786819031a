"""`new-key`: a key for the server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def new_key(
    name: Annotated[str, typer.Argument(help="Whose key it is, as the log names it.")],
    scopes: Annotated[str, typer.Option(help="read, write or read,write.")] = "read",
    until: Annotated[
        str | None, typer.Option(help="Its last day, such as 2027-12-31; without one it never ends.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Add its line to this key file (made when missing).")] = None,
) -> None:
    """Make an API key. It is shown once; the server keeps its hash."""
    from itemspace.core.errors import RequestError
    from itemspace.serve import keys

    key, line = keys.new_key(name, scopes.split(","), until)
    if file is None:
        print(f"{key}\n\nThe key is shown this once. Its line for the key file of the server:\n\n{line}")
        return
    if file.exists():
        known = [words.split()[0] for words in file.read_text(encoding="utf-8").splitlines() if words.strip()]
        if name in known:
            raise RequestError(f"{file} has a key called `{name}` already. Choose another name, or take its line out.")
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "a", encoding="utf-8") as lines:
        lines.write(line + "\n")
    print(f"{key}\n\nThe key is shown this once. Its line was added to {file}.")
