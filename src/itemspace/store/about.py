"""`store.json`: what a store's folder says of itself. Whatever else a store is made of, it is found by this file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pyarrow as pa

from itemspace._version import __version__
from itemspace.core.errors import ArtifactError, FormatVersionError
from itemspace.core.files import fsync_folder, read_json, write_json_atomic

NAME = "store.json"


def refuse_taken(folder: Path) -> None:
    """Refuse to create a store where something is.

    Raises:
        ArtifactError: `folder` is a file, or has something in it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArtifactError(f"{folder} exists already. Open it, or choose another place.")


def described(kind: str, format: int, items_schema: pa.Schema, id_column: str, **more: Any) -> dict[str, Any]:
    """What `write` writes: the kind of store and its format, the columns of items, and what else it needs to be opened."""
    return {
        "type": kind,
        "format": format,
        "itemspace": __version__,
        "id_column": id_column,
        "items_schema": base64.b64encode(items_schema.serialize().to_pybytes()).decode(),
        "columns": {entry.name: str(entry.type) for entry in items_schema},
        **more,
    }


def write(folder: Path, about: dict[str, Any]) -> None:
    """Write the description, last: a folder without it is no store, so a `create` that is killed leaves none."""
    write_json_atomic(folder / NAME, about)
    fsync_folder(folder.absolute().parent)


def read(folder: Path) -> dict[str, Any]:
    """The description in a folder.

    Raises:
        ArtifactError: the folder is missing, is no store, or its description is damaged.
    """
    if not folder.exists():
        raise ArtifactError(f"{folder} does not exist.")
    if not (folder / NAME).exists():
        raise ArtifactError(f"{folder} is not a store: it has no {NAME}.")
    about = read_json(folder / NAME)
    if not isinstance(about, dict) or not isinstance(about.get("type"), str):
        raise ArtifactError(f"{folder / NAME} does not describe a store of any kind.")
    return about


def columns(folder: Path, about: Any, kind: str, format: int) -> tuple[pa.Schema, str]:
    """The columns of items and the ID column that a description names.

    Raises:
        ArtifactError: it describes another kind of store, or is damaged.
        FormatVersionError: a newer itemspace wrote it.
    """
    place = folder / NAME
    if not isinstance(about, dict) or about.get("type") != kind:
        raise ArtifactError(f"{place} does not describe a store of this kind.")
    try:
        if about["format"] > format:
            raise FormatVersionError(
                f"{folder} has format {about['format']}, written by itemspace {about.get('itemspace')}. "
                f"This is itemspace {__version__}, which reads formats up to {format}. "
                f'Install a newer one:\n  pip install "itemspace>={about.get("itemspace")}"'
            )
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(about["items_schema"]))), str(about["id_column"])
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise ArtifactError(f"{place} is damaged: {error}.") from None
