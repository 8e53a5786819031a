"""The JSON beside an index's arrays: what it is, how it was configured, which space it is of."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from itemspace.core.errors import ArtifactError, FormatVersionError
from itemspace.core.vectors import VectorSpace

FILE = "index.json"


def write_header(folder: Path, kind: str, version: int, **content: Any) -> None:
    """Write `index.json`."""
    text = json.dumps({"type": kind, "format": version, **content}, indent=2, sort_keys=True)
    (folder / FILE).write_text(text + "\n")


def read_header(folder: Path, kind: str, version: int) -> dict[str, Any]:
    """Read `index.json`.

    Raises:
        ArtifactError: it is missing, damaged, or of another kind of index.
        FormatVersionError: a newer itemspace wrote it.
    """
    path = Path(folder) / FILE
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}). Rebuild the index.") from None
    if not isinstance(found, dict) or found.get("type") != kind:
        raise ArtifactError(f"{path} does not describe a {kind} index.")
    if int(found.get("format", 0)) > version:
        raise FormatVersionError(
            f"{path} has format {found['format']}; this itemspace reads up to {version}. Upgrade itemspace to open it."
        )
    return found


def space_from(header: dict[str, Any]) -> VectorSpace:
    """The space an index was built over."""
    return VectorSpace(**header["space"])


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
