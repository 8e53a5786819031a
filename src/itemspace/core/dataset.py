"""`Dataset`: the values of one catalogue and its logs, together, sharing rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from itemspace.core.catalog import Catalog
from itemspace.core.errors import DataError
from itemspace.core.hashing import fingerprint
from itemspace.core.interactions import Impressions, Interactions
from itemspace.core.judgments import Judgments, Queries


@dataclass(frozen=True)
class Dataset:
    """A catalogue with whatever logs and judgments exist for it. Every item row means the same item in all of them.

    source: where it was read from and how (reader name, files, options), for manifests and reports.
    order: "time" when events have times, "file" when only their order in the file is known.
    """

    catalog: Catalog
    interactions: Interactions | None = None
    impressions: Impressions | None = None
    queries: Queries | None = None
    judgments: Judgments | None = None
    name: str = "dataset"
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.catalog)
        for label, part in (("interactions", self.interactions), ("impressions", self.impressions)):
            if part is not None and len(part.items) != n:
                raise DataError(
                    f"the {label} speak of {len(part.items):,} items, the catalogue has {n:,}", column="item"
                )
        if self.judgments is not None and self.queries is not None and len(self.judgments) != len(self.queries):
            raise DataError(f"{len(self.queries):,} queries but judgments for {len(self.judgments):,}")

    @classmethod
    def read(cls, source: str | Path, *, root: str | Path | None = None, **options: Any) -> Dataset:
        """Read a folder, a file or a named dataset under `root` (default: the `ITEMSPACE_DATA` folder).

        The format is recognized from the files; `reader="name"` says it outright; further options go to the reader.

        Raises:
            DataError: nothing there can be read; the message says what was looked for.
        """
        from itemspace.core.config import load_object

        read: Any = load_object("itemspace.data.read:read")
        return read(source, root=root, **options)

    @property
    def order(self) -> str:
        return "time" if self.interactions is not None and self.interactions.time is not None else "file"

    def with_interactions(self, interactions: Interactions | None) -> Dataset:
        """The same dataset with other events (a split's training part)."""
        return replace(self, interactions=interactions)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything in it."""
        parts = (self.interactions, self.impressions, self.judgments)
        texts = list(self.queries.texts) if self.queries else None
        return fingerprint(self.catalog.fingerprint, [None if p is None else p.fingerprint for p in parts], texts)
