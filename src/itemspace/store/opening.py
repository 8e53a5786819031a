"""Finding out which kind of store a folder is."""

from __future__ import annotations

from pathlib import Path

from itemspace.core.errors import ArtifactError
from itemspace.core.files import remove_tree
from itemspace.core.plugins import find
from itemspace.store import about
from itemspace.store.contract import Store

_KINDS = {"store.lance": "lancedb", "store.postgres": "postgres", "store.milvus": "milvus"}


def store_at(path: Path, kind: str | None = None) -> type[Store]:
    """The class of the store at `path`; `kind` is its short name where it is known.

    Raises:
        ArtifactError: there is no store, or one of a kind that is not ours.
    """
    if kind is None:
        told = str(about.read(path)["type"])
        if told not in _KINDS:
            raise ArtifactError(f"{path} is a store of a kind that is not known here ({told}).")
        kind = _KINDS[told]
    found: type[Store] = find("stores", kind)
    return found


def discard(path: Path) -> None:
    """Delete the store at `path`, in its database too; a folder that is no store is just deleted.

    Raises:
        ArtifactError: its database does not answer.
    """
    try:
        found = store_at(path)
    except ArtifactError:
        remove_tree(path)
    else:
        found.delete(path)
