"""`Adapter`: vectors to better vectors, learned once from some of them and applied to items and requests alike.

An adapter stands between an encoder and an index (`encoder >> adapter >> index`), or inside an index that is built from
vectors made long ago (`AdaptedIndex`): nothing is encoded anew.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from itemspace.core.config import Component, Config
from itemspace.core.contracts import Persistent
from itemspace.core.errors import ArtifactError, ContractError, RequestError
from itemspace.core.hashing import fingerprint
from itemspace.core.plugins import find
from itemspace.core.seeding import RNG
from itemspace.core.vectors import Dense, Metric, VectorSpace, normalize

_BLOCK = 16_384


class AdapterConfig(Config):
    dimension: int = Field(64, ge=1, description="length of the vectors that come out")
    compare: Metric | None = Field(None, description="how they are compared; default: as the vectors that went in")


@dataclass(frozen=True)
class Affine:
    """x -> (x - mean) @ axes. mean: float32 [d]. axes: float32 [d, m], one column per dimension that comes out."""

    mean: np.ndarray
    axes: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """float32 [n, m] of values [n, d].

        Summed in float64 and rounded once: a vector comes out the same alone and among others, whatever order a matrix
        product adds in.
        """
        axes, shift = self.axes.astype(np.float64), self.mean.astype(np.float64) @ self.axes
        out = np.empty((len(values), axes.shape[1]), np.float32)
        for start in range(0, len(values), _BLOCK):
            out[start : start + _BLOCK] = values[start : start + _BLOCK].astype(np.float64) @ axes - shift
        return out


class Adapter(Component, Persistent):
    """Vectors of one space to vectors of a smaller one, by an affine map. Subclasses say in `learn` which.

    Vectors that are compared by cosine are normalized first, and after where they still are. The space that comes out
    names the space that went in, so vectors adapted differently are never compared.
    """

    config: AdapterConfig
    kind: ClassVar[str]
    """Its name in saved files and in the space's fingerprint."""

    _map: Affine | None = None
    _source: VectorSpace | None = None
    _space: VectorSpace | None = None

    @abstractmethod
    def learn(self, values: np.ndarray, rng: RNG) -> Affine:
        """The map, from values float32 [n, d] (normalized where the metric is cosine)."""

    def fit(self, vectors: Dense, *, rng: RNG = 0) -> Self:
        """Learn the map from vectors [n, d]; a sample of some ten thousand is enough.

        Raises:
            ContractError: no vectors, or ones that are not finite numbers.
            RequestError: fewer dimensions than are asked for.
        """
        values = _ready(vectors)
        if not len(values):
            raise ContractError(f"{type(self).__name__} learns from vectors; it was given none.")
        if not np.isfinite(values.sum(dtype=np.float64)):
            raise ContractError("an adapter needs vectors of finite numbers.")
        if self.config.dimension > values.shape[1]:
            raise RequestError(
                f"vectors of {values.shape[1]} dimensions cannot be reduced to {self.config.dimension}: ask for fewer."
            )
        self._adopt(self.learn(values, rng), vectors.space)
        return self

    @property
    def source(self) -> VectorSpace:
        """The space it was fitted on."""
        self._fitted()
        assert self._source is not None
        return self._source

    @property
    def space(self) -> VectorSpace:
        """The space of what comes out."""
        self._fitted()
        assert self._space is not None
        return self._space

    def adapt(self, vectors: Dense) -> Dense:
        """Vectors [n, m] of `space` for vectors [n, d] of `source`.

        Raises:
            SpaceMismatchError: they are of another space than those it was fitted on.
        """
        self.source.check(vectors.space, what="adapted")
        out = self._fitted().apply(_ready(vectors))
        return Dense(normalize(out) if self.space.normalized else out, self.space)

    def save(self, folder: Path) -> None:
        found, folder = self._fitted(), Path(folder)
        told = {"type": self.kind, "config": self.config.model_dump(mode="json"), "source": self.source.to_json()}
        (folder / "adapter.json").write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
        np.save(folder / "mean.npy", found.mean)
        np.save(folder / "axes.npy", found.axes)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """
        Raises:
            ArtifactError: the folder holds another kind of adapter, or none.
        """
        folder = Path(folder)
        try:
            told = json.loads((folder / "adapter.json").read_text())
            mean, axes = np.load(folder / "mean.npy"), np.load(folder / "axes.npy")
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{folder} holds no adapter that can be read ({error}).") from None
        if told.get("type") != cls.kind:
            raise ArtifactError(f"{folder} holds an adapter of kind {told.get('type')!r}, not {cls.kind!r}.")
        adapter = cls(cls.config_class().parse(told["config"]))
        adapter._adopt(Affine(mean, axes), VectorSpace(**told["source"]))
        return adapter

    def _adopt(self, found: Affine, source: VectorSpace) -> None:
        mean, axes = np.ascontiguousarray(found.mean, np.float32), np.ascontiguousarray(found.axes, np.float32)
        self._map, self._source = Affine(mean, axes), source
        metric = self.config.compare or source.metric
        print_ = fingerprint(self.kind, self.config.model_dump(mode="json"), source.to_json(), mean, axes)
        self._space = VectorSpace(f"{self.kind}-{print_}", axes.shape[1], metric, normalized=metric == "cosine")

    def _fitted(self) -> Affine:
        if self._map is None:
            raise ContractError(f"this {type(self).__name__} has not learned anything yet: call fit(vectors) first.")
        return self._map

    def __rshift__(self, index: Any) -> Any:
        return find("indexes", "adapted").over(self, index)


def _ready(vectors: Dense) -> np.ndarray:
    if not isinstance(vectors, Dense):
        raise ContractError(f"an adapter takes dense vectors, not {type(vectors).__name__}.")
    values = np.asarray(vectors.values, np.float32)
    return normalize(values) if vectors.space.metric == "cosine" and not vectors.space.normalized else values
