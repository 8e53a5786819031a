"""`TableFiles`: the user's own table files, named but not yet read; whole, or streamed as their size demands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itemspace.core.dataset import Dataset
from itemspace.core.errors import RecipeError, nearest
from itemspace.data.impressions import in_words
from itemspace.data.read import OPTIONS, locate, matching, read, reading_of
from itemspace.data.reader import Reading
from itemspace.data.readers.tables import is_log, parts_of
from itemspace.data.staged import open_staged, stage_catalog, staging_key
from itemspace.data.stream import StreamedCatalog, can_stream, unpacked_bytes
from itemspace.data.stream_log import stream_interactions
from itemspace.data.tables import read_judged, read_shown, read_tables

WHOLE_BYTES = 256 << 20
"""Files that are larger than this, unpacked, are streamed; smaller ones are read whole."""


@dataclass(frozen=True)
class TableFiles:
    """An items file (or a folder of Parquet parts) and the logs beside it; see `read_tables` for what each may hold.

    options: as for `itemspace.data.read.read`. stream: whether to go through items and events in chunks; by default where
    one of them is larger than `WHOLE_BYTES`. Column kinds of a streamed catalogue are guessed from its first chunk, and
    numbers in text files are float64.
    """

    items: str | Path
    interactions: str | Path | None = None
    queries: str | Path | None = None
    judgments: str | Path | None = None
    impressions: str | Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    stream: bool | None = None

    def __post_init__(self) -> None:
        strange = next((name for name in self.options if name not in OPTIONS), None)
        if strange is not None:
            raise RecipeError(f"unknown option `{strange}`.{nearest(strange, OPTIONS)} Options: {', '.join(OPTIONS)}.")

    @property
    def streamed(self) -> bool:
        """Whether the files are read in chunks."""
        if self.stream is not None:
            return self.stream
        large = [Path(path) for path in (self.items, self.interactions) if path is not None]
        if self.options.get("unknown") == "add" or not all(map(can_stream, large)):
            return False  # items that only a log knows, or a format that has no chunks
        return large[0].is_dir() or max(map(unpacked_bytes, large)) > WHOLE_BYTES

    def read(self) -> Dataset:
        """Everything, in memory."""
        logs = {name: getattr(self, name) for name in ("interactions", "queries", "judgments", "impressions")}
        return read_tables(self.items, **logs, **self.options)

    def key(self) -> str:
        """Which items file this is, by size and time of change, and how it is read."""
        return staging_key([Path(self.items)], {name: str(value) for name, value in self.options.items()})

    def stage(self, folder: Path) -> None:
        """Write the catalogue in row order into `folder`, a chunk in memory at a time.

        Raises:
            DataError: a bad row, and no rejects file is named.
        """
        stage_catalog(StreamedCatalog.open(self.items, reading=reading_of(**self.options)), folder)

    def dataset(self, folder: Path) -> Dataset:
        """The dataset over what `stage` wrote: items mapped, events as packed arrays, queries and judgments in memory."""
        return _dataset(self, folder, reading_of(**self.options))


def _dataset(files: TableFiles, folder: Path, reading: Reading) -> Dataset:
    catalog = open_staged(folder)
    reading.notes += catalog.notes
    reading.files.append(Path(files.items).name)
    if catalog.rejected is not None:
        reading.rejects.restore(catalog.rejected)
    parts: dict[str, Any] = {}
    if files.interactions is not None:
        reading.files.append(Path(files.interactions).name)
        parts["interactions"] = stream_interactions(
            files.interactions, catalog.ids, reading=reading, id_column=catalog.schema.id
        )
    if files.impressions is not None:
        parts["impressions"] = read_shown(Path(files.impressions), catalog, reading)[1]
    if files.queries is not None or files.judgments is not None:
        parts["queries"], parts["judgments"] = read_judged(files.queries, files.judgments, catalog, reading)[1:]
        if "impressions" in parts:
            parts["impressions"] = in_words(parts["impressions"], parts["queries"])
    reading.rejects.close()
    return reading.dataset(Path(files.items), "tables", catalog, source={"streamed": True}, **parts)


def found_at(path: str | Path, options: Mapping[str, Any] | None = None) -> TableFiles | Dataset:
    """What a path names: table files that are streamed, or anything else `Dataset.read` knows, read with `options`.

    Raises:
        DataError: nothing there can be read.
    """
    place, told = locate(path), dict(options or {})
    known = matching(place)
    files = None
    if known[:1] == ["tables"]:
        if place.is_dir():
            parts: dict[str, Any] = dict(parts_of(place))
            files = TableFiles(**parts, options=told) if "items" in parts else None
        elif not is_log(place):
            files = TableFiles(place, options=told)
    elif not known and place.is_dir() and can_stream(place):
        files = TableFiles(place, options=told)
    return files if files is not None and files.streamed else read(place, **told)
