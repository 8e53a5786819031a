"""A folder of the user's own tables: `items.*` with `interactions.*`, `queries.*`, `judgments.*`, `impressions.*`."""

from __future__ import annotations

from pathlib import Path

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.data.reader import Reader, Reading
from itemspace.data.tables import SUFFIXES, is_table, read_tables

_PARTS = {
    "items": ("items", "catalog", "catalogue", "products", "item"),
    "interactions": ("interactions", "events", "log", "clicks", "ratings", "purchases"),
    "queries": ("queries",),
    "judgments": ("judgments", "qrels", "labels"),
    "impressions": ("impressions",),
}


class TablesReader(Reader):
    """Parquet, CSV, TSV, JSON or JSONL, one file per part, or a single file: a catalogue, or a log when it has users."""

    config: Config
    name = "tables"
    looks_for = "a table file, or a folder with items.* or interactions.* (" + ", ".join(SUFFIXES[:7]) + ")"

    @classmethod
    def matches(cls, path: Path) -> bool:
        if path.is_dir():
            found = parts_of(path)
            return "items" in found or "interactions" in found
        return is_table(path)

    def read(self, path: Path, reading: Reading) -> Dataset:
        if path.is_dir():
            parts = parts_of(path)
            made = read_tables(parts.pop("items", None), reading=reading, **parts)
            return type(made)(**{**made.__dict__, "name": path.name})
        if is_log(path):
            return read_tables(interactions=path, reading=reading)
        return read_tables(path, reading=reading)


def is_log(path: Path) -> bool:
    """Whether a single file is named like a log of events."""
    return path.stem.split(".")[0].lower() in _PARTS["interactions"]


def parts_of(folder: Path) -> dict[str, Path]:
    """Part -> file; the first name in `_PARTS` that exists wins."""
    files = {path.name.lower(): path for path in sorted(folder.iterdir()) if is_table(path)}
    found: dict[str, Path] = {}
    for part, stems in _PARTS.items():
        for stem in stems:
            hit = next((files[stem + suffix] for suffix in SUFFIXES if stem + suffix in files), None)
            if hit is not None:
                found[part] = hit
                break
    return found
