"""`GaussianIndex`: distributions compared by divergence, looked up as inner products."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from itemspace.core.asking import check_k
from itemspace.core.contracts import Index
from itemspace.core.errors import ContractError
from itemspace.core.hashing import fingerprint
from itemspace.core.hits import Hits
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.selection import Selection
from itemspace.core.vectors import Gaussian, VectorSpace
from itemspace.index.fronted import FrontConfig, ProductFront
from itemspace.index.persist import read_header, space_from, write_header
from itemspace.index.rows import RowMap, check_rows, grown

_CHUNK = 65_536
_MORE = 8
"""Answers asked of the front beyond k: products of float32 may order neighbors otherwise than the divergence does."""


class GaussianConfig(FrontConfig):
    more: int = Field(_MORE, ge=0, description="answers ranked exactly beyond k; more find more behind a graph")


class GaussianIndex(Index):
    """Items and queries as normal distributions with diagonal covariance: the score is -KL(query || item), in nats.

    An item that is far from the query, or narrow where the query is wide, scores low. The divergence of two such
    distributions is an inner product of a vector of the query's with one of the item's (`expand_queries`,
    `expand_items`) up to a constant of the query's, so any index of inner products answers it: `flat` exactly, `hnsw` at
    the recall it reaches, with its filters and its changes. Scores are the divergences themselves, of the float32 means
    and variances, whatever the front's products round to.

    Source: Zamani and Bendersky 2023, sections 3.2 and 3.4.
    """

    config: GaussianConfig
    accepts: ClassVar[tuple[type, ...]] = (Gaussian,)
    exact: ClassVar[bool] = False

    _space: VectorSpace | None = None
    _front: ProductFront
    _rows: RowMap
    _held: np.ndarray
    _seed: int = 0

    def build(
        self,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        parts = list(chunks)
        if not parts:
            raise ContractError(
                "an index needs at least one chunk of distributions (it may be empty) to know its space."
            )
        for part in parts:
            check_gaussian(part, parts[0].space)
        total = sum(len(part) for part in parts)
        given = np.arange(total, dtype=np.int32) if rows is None else np.concatenate(list(rows))
        self._rows = RowMap.empty()
        self._rows.append(check_rows(given, total), ties)
        self._held = np.concatenate([_pairs(part) for part in parts])
        self._space = parts[0].space
        self._seed = as_seed(rng)
        self._look_up(ties)
        return self

    def _look_up(self, ties: np.ndarray | None) -> None:
        """A front over every slot (all must be live)."""
        width, slots = self.space.dimension, range(0, max(len(self._held), 1), _CHUNK)

        def expanded() -> Iterator[np.ndarray]:
            for start in slots:
                held = self._held[start : start + _CHUNK]
                yield expand_items(held[:, :width], held[:, width:])

        lengths = np.concatenate([np.linalg.norm(part, axis=1) for part in expanded()])
        self._front = ProductFront.over(self.config, self._name, lengths, 2 * width + 1)
        rows = (self._rows.rows[start : start + _CHUNK] for start in slots)
        self._front.build(expanded(), rows, ties, derive(self._seed, "front"))

    @property
    def _name(self) -> str:
        return f"expanded-{fingerprint(self.space.to_json())}"

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        check_k(k)
        check_gaussian(queries, self.space)
        found = self._front.search(expand_queries(queries.mean, queries.variance), k + self.config.more, within)
        group, column = np.nonzero(found.rows >= 0)
        slots = self._rows.slots_of(found.rows[group, column])
        scores = np.full(found.rows.shape, -np.inf, np.float32)
        held, width = self._held[slots], self.space.dimension
        scores[group, column] = -divergence(
            queries.mean[group], queries.variance[group], held[:, :width], held[:, width:]
        )
        ties = np.zeros(found.rows.shape, np.uint32)
        ties[group, column] = self._rows.ties[slots]
        order = np.lexsort((ties, -scores), axis=1)[:, :k]
        best = np.take_along_axis(found.rows, order, 1), np.take_along_axis(scores, order, 1)
        told = {"plan": f"{self.config.front} over inner products, then -KL", "front": found.explanation}
        return Hits(*best, total=found.total, explanation=told)

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        check_gaussian(vectors, self.space)
        rows = check_rows(rows, len(vectors))
        used = self._rows.slots
        self._rows.append(rows, ties)
        self._held = grown(self._held, used, len(rows))
        self._held[used : used + len(rows)] = _pairs(vectors)
        self._front.upsert(expand_items(vectors.mean, vectors.variance), rows, ties)

    def remove(self, rows: np.ndarray) -> None:
        self._built()
        self._rows.drop(rows)
        self._front.index.remove(rows)

    def compact(self) -> None:
        self._built()
        live = np.flatnonzero(self._rows.rows >= 0)
        self._held = self._held[live]
        self._rows = RowMap(self._rows.rows[live], self._rows.ties[live])
        by_row = np.zeros(int(self._rows.rows.max(initial=-1)) + 1, np.uint32)
        by_row[self._rows.rows] = self._rows.ties
        self._look_up(by_row)

    def save(self, folder: Path) -> None:
        space = self.space
        np.save(Path(folder) / "gaussians.npy", self._held[: self._rows.slots])
        self._rows.save(Path(folder))
        self._front.save(folder)
        config = self.config.model_dump(mode="json")
        write_header(folder, "gaussian", 1, space=space.to_json(), config=config, seed=self._seed)

    @classmethod
    def open(cls, folder: Path) -> Self:
        header = read_header(folder, "gaussian", 1)
        index = cls(cls.config_class().parse(header["config"]))
        index._space = space_from(header)
        index._rows = RowMap.open(Path(folder))
        # An empty array cannot be mapped.
        index._held = np.load(Path(folder) / "gaussians.npy", mmap_mode="r" if index._rows.slots else None)
        index._seed = int(header["seed"])
        index._front = ProductFront.open(index.config, index._name, 2 * index.space.dimension + 1, folder)
        return index

    @property
    def space(self) -> VectorSpace:
        """The space of its distributions."""
        return self._built()

    def __len__(self) -> int:
        return 0 if self._space is None else self._rows.live

    def _built(self) -> VectorSpace:
        if self._space is None:
            raise ContractError("GaussianIndex is empty: call build first.")
        return self._space


def divergence(
    mean: np.ndarray, variance: np.ndarray, other_mean: np.ndarray, other_variance: np.ndarray
) -> np.ndarray:
    """KL(N(mean, variance) || N(other_mean, other_variance)) over the last axis, diagonal covariances, float64, in nats.

    1/2 sum(log(v' / v) + (v + (m - m')^2) / v' - 1): 0 where both are the same, and not symmetric.
    """
    m, v, n, w = (np.asarray(part, np.float64) for part in (mean, variance, other_mean, other_variance))
    return np.asarray(0.5 * (np.log(w / v) + (v + np.square(m - n)) / w - 1.0).sum(-1))


def expand_queries(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """float32 [q, 2 d + 1]: [1, v + m^2, m] of every query.

    Multiplying (m - m')^2 out, -2 KL = sum(log v + 1) - sum(log v' + m'^2 / v') - sum((v + m^2) / v') + sum(2 m m' / v').
    The first sum is the query's own and changes no order; the others are the product with `expand_items`.
    """
    m, v = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
    return np.concatenate([np.ones((len(m), 1)), v + m * m, m], axis=1).astype(np.float32)


def expand_items(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """float32 [n, 2 d + 1]: [-sum(log v + m^2 / v), -1 / v, 2 m / v] of every item; see `expand_queries`."""
    m, v = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
    first = -(np.log(v) + m * m / v).sum(1, keepdims=True)
    return np.concatenate([first, -1.0 / v, 2.0 * m / v], axis=1).astype(np.float32)


def own_constant(variance: np.ndarray) -> np.ndarray:
    """float64 [q]: what half of the product of the expanded vectors lacks to -KL, 1/2 sum(log v + 1)."""
    return np.asarray(0.5 * (np.log(np.asarray(variance, np.float64)) + 1.0).sum(1))


def check_gaussian(vectors: Any, space: VectorSpace) -> None:
    """Refuse what is no distribution of `space`.

    Raises:
        ContractError: other values than `Gaussian`; shapes that do not fit; a mean that is not finite, or a variance that
            is not above 0. SpaceMismatchError: another space.
    """
    if not isinstance(vectors, Gaussian):
        raise ContractError(f"GaussianIndex holds Gaussian distributions, not {type(vectors).__name__}.")
    space.check(vectors.space)
    shape = (len(vectors), space.dimension)
    if vectors.mean.shape != shape or vectors.variance.shape != shape:
        told = f"{vectors.mean.shape} and {vectors.variance.shape}"
        raise ContractError(f"means and variances must both be {shape}, and are {told}.")
    if not (np.isfinite(vectors.mean).all() and np.isfinite(vectors.variance).all() and (vectors.variance > 0).all()):
        raise ContractError("a mean is not a finite number, or a variance is not a finite number above 0.")


def _pairs(vectors: Gaussian) -> np.ndarray:
    """float32 [n, 2 d]: means, then variances."""
    return np.concatenate([vectors.mean, vectors.variance], axis=1).astype(np.float32)
