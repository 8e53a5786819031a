"""Indexes that answer through a dense one: they turn what they hold into single vectors, and any dense index looks up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from itemspace.core.config import Config, load_object
from itemspace.core.contracts import Index
from itemspace.core.errors import RecipeError
from itemspace.core.hits import Hits
from itemspace.core.seeding import RNG
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace

_FOLDER = "front"
_ROOM = 1.25
"""How much longer (squared) than the longest vector of the build later ones may be without being foreshortened."""


class FrontConfig(Config):
    front: str = Field("flat", description="the dense index that looks up: flat, hnsw, ivf, or another by name or path")
    options: dict[str, Any] = Field({}, description="the front's own settings")


class ProductFront:
    """Inner products by any dense index. Larger is better; callers score what is found by what they really mean.

    An exact index is given the vectors as they are. Graphs and lists follow distances, and among products the longest
    vectors attract every walk: they get one coordinate more, sqrt(reach^2 - |x|^2), 0 for queries, so that all items have
    one length and Euclidean nearness is the order of products. On 5,000 expanded Gaussians a graph's recall rises from .02
    to .99 by it. An item longer than `reach` (added later) is foreshortened and may be missed until the index is compacted.

    Source: Bachrach et al. 2014, section 3.1; Neyshabur and Srebro 2015, section 4.
    """

    def __init__(self, config: FrontConfig, encoder: str, dimension: int, reach: float = 0.0) -> None:
        """encoder: of the space of the vectors; dimension: theirs. reach: no less than their lengths (ignored if exact).

        Raises:
            RecipeError: no such index, one that holds no dense vectors, or settings it does not know.
        """
        made = _class(config)
        self.index: Index = made(made.config_class().parse(config.options, where="options"))
        self.config, self.plain, self.reach = config, bool(self.index.exact), reach
        self.space = VectorSpace(encoder, dimension, "dot")
        self.inner = self.space if self.plain else VectorSpace(f"{encoder}-leveled", dimension + 1, "euclidean")

    @classmethod
    def over(cls, config: FrontConfig, encoder: str, lengths: np.ndarray, dimension: int) -> Self:
        """A front with room for vectors of these lengths [n]."""
        return cls(config, encoder, dimension, float(np.sqrt(_ROOM) * lengths.max(initial=1e-6)))

    def build(
        self, chunks: Iterable[np.ndarray], rows: Iterator[np.ndarray], ties: np.ndarray | None, rng: RNG
    ) -> None:
        self.index.build((self._items(chunk) for chunk in chunks), rows, ties=ties, rng=rng)

    def search(self, queries: np.ndarray, k: int, within: Selection | None) -> Hits:
        """The k items of greatest product with each query [q, d]; scores are the front's own."""
        if not self.plain:
            queries = np.concatenate([queries, np.zeros((len(queries), 1), queries.dtype)], axis=1)
        return self.index.search(Dense(queries, self.inner), k, within)

    def upsert(self, values: np.ndarray, rows: np.ndarray, ties: np.ndarray | None) -> None:
        self.index.upsert(self._items(values), rows, ties=ties)

    def _items(self, values: np.ndarray) -> Dense:
        if not self.plain:
            square = np.einsum("nd,nd->n", values, values, dtype=np.float64)
            last = np.sqrt(np.maximum(self.reach**2 - square, 0)).astype(values.dtype)
            values = np.concatenate([values, last[:, None]], axis=1)
        return Dense(values, self.inner)

    def save(self, folder: Path) -> None:
        """Write the dense index and the reach into a folder of their own within `folder`."""
        home = Path(folder) / _FOLDER
        (home / "index").mkdir(parents=True)
        (home / "front.json").write_text(json.dumps({"reach": self.reach}) + "\n")
        self.index.save(home / "index")

    @classmethod
    def open(cls, config: FrontConfig, encoder: str, dimension: int, folder: Path) -> Self:
        """What `save` wrote."""
        home = Path(folder) / _FOLDER
        made = cls(config, encoder, dimension, float(json.loads((home / "front.json").read_text())["reach"]))
        made.index = _class(config).open(home / "index")
        return made


def _class(config: FrontConfig) -> Any:
    # By name, as the part it finds: what is measured of an index does not depend on which other parts are registered.
    made = load_object("itemspace.core.plugins:find")("indexes", config.front)
    if Dense not in getattr(made, "accepts", ()):
        raise RecipeError(
            f"`front` must be an index of dense vectors, as flat, hnsw and ivf are; `{config.front}` is not."
        )
    return made
