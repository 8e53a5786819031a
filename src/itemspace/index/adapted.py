"""`AdaptedIndex`: any index over fewer dimensions, built from the vectors that are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from itemspace.adapt.adapter import Adapter
from itemspace.core.config import Config
from itemspace.core.contracts import Index
from itemspace.core.errors import ContractError
from itemspace.core.hits import Hits
from itemspace.core.plugins import find
from itemspace.core.seeding import RNG
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.flat import FlatIndex
from itemspace.index.persist import read_header, write_header


class AdaptedConfig(Config):
    adapter: str = Field("pca", description="what makes the vectors smaller, by name or import path")
    adapter_options: dict[str, Any] = Field({}, description="its configuration, such as `dimension`")
    inner: str = Field("flat", description="the index over what comes out")
    inner_options: dict[str, Any] = Field({}, description="its configuration")
    sample: int = Field(50_000, ge=1, description="vectors the adapter learns from, the first that come")


class AdaptedIndex(Index):
    """An adapter in front of an index: a search costs what the reduced vectors cost, and nothing is encoded anew.

    Items and queries come in the encoder's space and leave in the adapter's: scores are those of the reduced vectors. The
    adapter learns at `build` from the first `sample` vectors; upserts go through it unchanged.
    """

    config: AdaptedConfig
    accepts: ClassVar[tuple[type, ...]] = (Dense,)

    _adapter: Adapter | None = None
    _inner: Index | None = None
    _empty: Dense | None = None
    """No vectors, of the space they will be of: what an index holds that was built from nothing."""

    @classmethod
    def over(cls, adapter: Adapter, inner: Index) -> Self:
        """`adapter >> inner`: with an adapter that has learned already, or learns at `build`."""
        index = cls(
            adapter=adapter.path(),
            adapter_options=adapter.config.model_dump(),
            inner=inner.path(),
            inner_options=inner.config.model_dump(),
        )
        index._adapter = adapter if adapter._map is not None else None
        return index

    @property
    def adapter(self) -> Adapter:
        """The adapter, once it has learned."""
        if self._adapter is None:
            raise ContractError("this index has no adapter yet: call build(chunks) first.")
        return self._adapter

    @property
    def inner(self) -> Index:
        if self._inner is None:
            raise ContractError("this index is empty: call build(chunks) or open(folder) first.")
        return self._inner

    def build(
        self,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        waiting = iter(chunks)
        first: list[Any] = []
        while self._adapter is None and sum(map(len, first)) < self.config.sample:
            part = next(waiting, None)
            if part is None:
                break
            first.append(part)
        if self._adapter is None:
            if not first:
                raise ContractError("nothing to index: no chunk of vectors was given.")
            self._inner, self._empty = None, None
            if not any(map(len, first)):  # it learns from the first vectors that come
                self._empty = first[0]
                return self
            learned = np.concatenate([part.values for part in first])[: self.config.sample]
            made: type[Adapter] = find("adapters", self.config.adapter)
            self._adapter = made(**self.config.adapter_options).fit(Dense(learned, first[0].space), rng=rng)
        self._inner = self._fresh().build(self._adapted(chain(first, waiting)), rows, ties=ties, rng=rng)
        return self

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        if self._empty is not None:
            self._empty.space.check(queries.space)
            return FlatIndex().build([self._empty]).search(queries, k, within)
        return self.inner.search(self.adapter.adapt(queries), k, within)

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        if self._empty is not None:
            self.build([vectors], [rows], ties=ties)
            return
        self.inner.upsert(self.adapter.adapt(vectors), rows, ties=ties)

    def remove(self, rows: np.ndarray) -> None:
        if self._empty is None:
            self.inner.remove(rows)

    def compact(self) -> None:
        if self._empty is None:
            self.inner.compact()

    def __len__(self) -> int:
        return 0 if self._empty is not None else len(self.inner)

    def save(self, folder: Path) -> None:
        space = None if self._empty is None else self._empty.space.to_json()
        for name, part in (("adapter", self.adapter), ("inner", self.inner)) if space is None else ():
            (Path(folder) / name).mkdir()
            part.save(Path(folder) / name)
        write_header(folder, "adapted", 1, config=self.config.model_dump(mode="json"), empty=space)

    @classmethod
    def open(cls, folder: Path) -> Self:
        header = read_header(folder, "adapted", 1)
        index = cls(cls.config_class().parse(header["config"]))
        if header["empty"] is not None:
            space = VectorSpace(**header["empty"])
            index._empty = Dense(np.zeros((0, space.dimension), np.float32), space)
            return index
        index._adapter = find("adapters", index.config.adapter).open(Path(folder) / "adapter")
        index._inner = find("indexes", index.config.inner).open(Path(folder) / "inner")
        return index

    def _fresh(self) -> Index:
        made: type[Index] = find("indexes", self.config.inner)
        return made(**self.config.inner_options)

    def _adapted(self, chunks: Iterable[Any]) -> Iterator[Dense]:
        return (self.adapter.adapt(part) for part in chunks)
