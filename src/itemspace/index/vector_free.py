"""`VectorFree`: an encoder before a `RecomputeIndex`, which computes the vectors that the index does not keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Encoder, Persistent
from itemspace.core.errors import ContractError
from itemspace.core.hits import Hits
from itemspace.core.keeping import open_part, save_part
from itemspace.core.operators import Composite, Encoded
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG
from itemspace.core.vectors import Dense
from itemspace.index.recompute import RecomputeIndex

if TYPE_CHECKING:
    from itemspace.core.operators import Filter

View = Callable[[Catalog], Catalog]


class VectorFree(Composite, Persistent):
    """`encoder >> index` whose index asks the encoder for the vectors of the items it walks over.

    Binding a catalogue says where their texts are. view: which of its columns the encoder reads (default: all).
    """

    def __init__(self, encoder: Encoder, index: RecomputeIndex, view: View | None = None) -> None:
        if not isinstance(index, RecomputeIndex):
            raise ContractError(f"{type(index).__name__} keeps its vectors: compose it with `encoder >> index`.")
        self.inner = Encoded(encoder, index)
        self._view = view

    @property
    def children(self) -> tuple[Any, ...]:
        return (self.inner,)

    @property
    def encoder(self) -> Encoder:
        return self.inner.encoder

    @property
    def index(self) -> RecomputeIndex:
        index = self.inner.index
        assert isinstance(index, RecomputeIndex)
        return index

    def build(self, catalog: Catalog, *, chunk_size: int = 65_536, rng: RNG = 0) -> Self:
        """Encode the catalogue, a chunk at a time, into the index, and bind it. The vectors are then forgotten."""
        self.inner.build(catalog, chunk_size=chunk_size, rng=rng)
        return self.bind(catalog)

    def bind(self, catalog: Catalog) -> Self:
        super().bind(catalog)
        seen, encoder = catalog if self._view is None else self._view(catalog), self.encoder

        def vectors_of(rows: np.ndarray) -> np.ndarray:
            made = encoder.encode(seen.take(rows), role="item")
            if not isinstance(made, Dense):
                raise ContractError(f"{type(encoder).__name__} makes {type(made).__name__}, not one vector per item.")
            return np.asarray(made.values, np.float32)

        self.index.attach(vectors_of)
        return self

    def search(self, requests: Requests, k: int, where: Filter = None) -> Hits:
        return self.inner.search(requests, k, where)

    def __repr__(self) -> str:
        return repr(self.inner)

    def save(self, folder: Path) -> None:
        save_part(self.encoder, folder / "encoder")
        save_part(self.index, folder / "index")

    @classmethod
    def open(cls, folder: Path) -> Self:
        return cls(open_part(folder / "encoder"), open_part(folder / "index"))
