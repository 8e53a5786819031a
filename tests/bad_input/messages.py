"""Running a case: its message, and what it left on disk."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from itemspace._version import __version__
from itemspace.core.errors import ItemspaceError
from itemspace.space import Space
from tests.bad_input.case import Case

USAGE = ("UsageError", "BadParameter", "NoSuchOption", "MissingParameter", "NoSuchCommand")
"""What the command line's own parser raises, before any of our code runs."""


def refusal(case: Case, folder: Path, space: Space) -> Exception:
    """What the case raises; a case that raises nothing fails here."""
    try:
        case.provoke(folder, space)
    except ItemspaceError as error:
        return error
    except Exception as error:
        if case.area == "command line" and type(error).__name__ in USAGE:
            return error
        raise
    raise AssertionError(f"{case} was accepted")


def listing(folder: Path) -> dict[str, str]:
    """Every file and folder below `folder`, with its content's hash; of a lock, which says who held it last, the name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        plain = path.is_file() and path.name not in ("LOCK", "BUILDING")
        content = hashlib.sha256(path.read_bytes()).hexdigest() if plain else ""
        found[str(path.relative_to(folder))] = content
    return found


def told(case: Case, error: Exception, folder: Path, space: Space) -> str:
    """The message as it reads on any machine: paths shortened, versions and process numbers left out."""
    text = str(error).replace(f"{folder}/", "").replace(str(space.path), "shop.space").replace(str(folder), "FOLDER")
    text = re.sub(rf"process {os.getpid()}\b", "process NUMBER", text)
    text = text.replace(f"This is itemspace {__version__}", "This is itemspace VERSION")
    while case.quotes and (shorter := re.sub(r" ?\([^()]*\)", "", text)) != text:
        text = shorter
    return text
