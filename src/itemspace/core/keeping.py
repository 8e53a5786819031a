"""Saving a composed retriever as a folder tree, and opening it again: each part by its import path, never a pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.config import load_object
from itemspace.core.contracts import Persistent
from itemspace.core.errors import ContractError
from itemspace.core.files import read_json, write_json_atomic
from itemspace.core.operators import Composite, Cut, Encoded, Filtered, Fused, Reranked, fuse


def save_part(part: Any, folder: Path) -> None:
    """A component, or a tree of operators over components, with what opens it.

    Raises:
        ContractError: a part cannot be saved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any]
    if isinstance(part, Encoded):
        about = {"operator": "encoded"}
        save_part(part.encoder, folder / "encoder")
        save_part(part.index, folder / "index")
    elif isinstance(part, Fused):
        about = {"operator": "fused", "method": part.method, "weights": list(part.weights)}
        about |= {"depth": part.depth, "constant": part.constant, "parts": len(part.retrievers)}
        for i, child in enumerate(part.retrievers):
            save_part(child, folder / f"part-{i}")
    elif isinstance(part, Reranked):
        about = {"operator": "reranked", "depth": part.depth}
        save_part(part.retriever, folder / "retriever")
        save_part(part.scorer, folder / "scorer")
    elif isinstance(part, Filtered) and isinstance(part.expression, str):
        about = {"operator": "filtered", "where": part.expression}
        save_part(part.retriever, folder / "retriever")
    elif isinstance(part, Persistent):
        about = component(part)
        part.save(folder)
    else:
        raise ContractError(f"{type(part).__name__} cannot be saved: it has no `save` and `open`.")
    write_json_atomic(folder / "part.json", about)


def name_part(part: Any, folder: Path) -> None:
    """Say of a folder that already holds what `part.save` would write that `open_part` may open it."""
    write_json_atomic(folder / "part.json", component(part))


def component(part: Any) -> dict[str, str]:
    """What opens a component: its import path."""
    return {"component": f"{type(part).__module__}:{type(part).__qualname__}"}


def open_part(folder: Path) -> Any:
    """What `save_part` wrote."""
    about = read_json(folder / "part.json")
    kind = about.get("operator")
    if kind == "encoded":
        return Encoded(open_part(folder / "encoder"), open_part(folder / "index"))
    if kind == "fused":
        children = [open_part(folder / f"part-{i}") for i in range(about["parts"])]
        return fuse(
            *children,
            method=about["method"],
            weights=about["weights"],
            depth=about["depth"],
            constant=about["constant"],
        )
    if kind == "reranked":
        return Reranked(open_part(folder / "retriever"), Cut(open_part(folder / "scorer"), about["depth"]))
    if kind == "filtered":
        return Filtered(open_part(folder / "retriever"), about["where"])
    return load_object(about["component"]).open(folder)


def follow(part: Any, catalog: Catalog, changed: np.ndarray, removed: np.ndarray) -> None:
    """Bring every index below `part` up to date: rows that `changed` are encoded again, `removed` ones leave."""
    if isinstance(part, Encoded):
        if len(changed):
            vectors = part.encoder.encode(catalog.take(changed), role="item")
            part.index.upsert(vectors, changed, ties=catalog.ids.ties)
        if len(removed):
            part.index.remove(removed)
    elif isinstance(part, Composite):
        for child in part.children:
            follow(child, catalog, changed, removed)
