"""What every recommender shares: from a block of scores to hits, filters before the cut, and a place for every item.

A model says only how much it likes each item it knows (`score_block`). This base turns that into answers:

- `where` and the request's exclusions apply before the top-k, so k hits come back whenever k items are allowed;
- items a model has no evidence for (never together with anything in the history, without a training event, or added to
  the catalogue after the fit) follow all others, by popularity and then by the hash of the ID;
- a request without any known history gets popularity.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from scipy import sparse

from itemspace.core.contracts import DatasetLike, Recommender
from itemspace.core.errors import ArtifactError, ContractError, DataError, RequestError
from itemspace.core.hits import Hits
from itemspace.core.interactions import Interactions
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.topk import top_k

if TYPE_CHECKING:
    from itemspace.core.where import Expression

BLOCK_BYTES = 16 << 20
"""The most memory one block of scores [q, items] takes (float32); a batch of requests is cut to fit."""


@dataclass(frozen=True)
class Contributions:
    """Why: how much each event of a history added to each asked item's score.

    events: the history items that were used, per request. values: float32 [total events, c], for the c items asked about.
    """

    events: Ragged
    values: np.ndarray

    def top(self, request: int, column: int, n: int = 3) -> list[tuple[int, float]]:
        """The `n` history rows that added most to one answer, with what they added; those that added nothing left out."""
        start, stop = int(self.events.offsets[request]), int(self.events.offsets[request + 1])
        added = self.values[start:stop, column]
        order = np.argsort(-added, kind="stable")[:n]
        return [(int(self.events.values[start + i]), float(added[i])) for i in order.tolist() if added[i] > 0]


class ScoringRecommender(Recommender):
    """Base of recommenders that can score the whole catalogue for a block of requests.

    A subclass implements `fit` (calling `_begin` first), `score_block`, `_arrays` and `_restore`.
    """

    needs_history: ClassVar[bool] = True
    """Whether a request without a known history has no evidence (and so gets popularity)."""

    _counts: np.ndarray | None = None
    _ties: np.ndarray

    @abstractmethod
    def score_block(self, requests: Requests, histories: Ragged) -> np.ndarray:
        """float32 [q, num_items], larger is better; -inf where there is no evidence about the pair.

        `histories` holds what may be used of each request's history: known rows, nothing after `as_of`, oldest first.
        The array may be changed by the caller.
        """

    @abstractmethod
    def _arrays(self) -> dict[str, np.ndarray | sparse.csr_matrix]:
        """What was learned, by file name."""

    @abstractmethod
    def _restore(self, arrays: dict[str, Any]) -> None:
        """Take back what `_arrays` gave."""

    # Fitting

    def _begin(self, dataset: DatasetLike) -> Interactions:
        """The training events, with the catalogue bound and popularity counted.

        Raises:
            DataError: there are no events.
        """
        events = dataset.interactions
        if events is None or len(events) == 0:
            raise DataError(
                f"{type(self).__name__} learns from events, and this dataset has none.",
                hint="Read it with an interactions file (--interactions log.parquet).",
            )
        self.bind(dataset.catalog)
        self._counts = events.counts().astype(np.int64)
        self._ties = events.items.ties
        return events

    @property
    def num_items(self) -> int:
        """Rows the model was fitted over.

        Raises:
            ContractError: not fitted yet.
        """
        if self._counts is None:
            raise ContractError(f"{type(self).__name__} is not fitted: call fit(dataset) or open a saved one.")
        return len(self._counts)

    @property
    def _unseen(self) -> np.ndarray:
        """Rows without a training event: whatever a model says of them, it has not learned."""
        return np.flatnonzero(self.popularity == 0)

    @property
    def popularity(self) -> np.ndarray:
        """Training events per item [num_items], int64."""
        _ = self.num_items
        assert self._counts is not None
        return self._counts

    # Answering

    def search(self, requests: Requests, k: int, where: str | Expression | Selection | None = None) -> Hits:
        if k < 1:
            raise RequestError(f"k must be at least 1, got {k}.")
        requests.require("history", "user", by=type(self).__name__)
        selection = self._selection(where).excluding(requests.exclude)
        columns = None if selection.rows is None else selection.rows
        ties = self._tie_breaks(selection.size)
        prior = self._prior(selection.size)
        rows = np.full((len(requests), k), -1, np.int32)
        scores = np.full((len(requests), k), -np.inf, np.float32)
        for at in self._blocks(len(requests), selection.size):
            block = self._scores(requests.take(at), prior)
            limits = selection.take(at) if selection.per_request else selection
            _forbid(block, limits)
            if columns is None:
                rows[at], scores[at] = top_k(block, k, ties)
            else:
                found, scores[at] = top_k(block[:, columns], k, ties[columns])
                rows[at] = np.where(found < 0, -1, columns[np.maximum(found, 0)] if len(columns) else -1)
        total = selection.counts(len(requests))
        return Hits(rows, scores, None if self.catalog is None else self.catalog.ids, total=total)

    def score(self, requests: Requests, candidates: np.ndarray) -> np.ndarray:
        requests.require("history", "user", by=type(self).__name__)
        candidates = np.asarray(candidates, np.int32)
        size = max(self._size(), int(candidates.max(initial=-1)) + 1)
        prior = self._prior(size)
        out = np.empty(candidates.shape, np.float32)
        for at in self._blocks(len(requests), size):
            block = self._scores(requests.take(at), prior)
            out[at] = np.take_along_axis(block, np.maximum(candidates[at], 0).astype(np.int64), 1)
        return np.where(candidates < 0, np.float32(-np.inf), out)

    def _scores(self, requests: Requests, prior: np.ndarray) -> np.ndarray:
        """Scores of every row [q, size]; items without evidence below all others, in the order of `prior`."""
        histories = self.known_history(requests)
        block = self.score_block(requests, histories)
        if block.shape[1] < len(prior):
            unseen = np.full((len(block), len(prior) - block.shape[1]), -np.inf, np.float32)
            block = np.concatenate([block, unseen], axis=1)
        if self._unseen.size:
            block[:, self._unseen] = -np.inf
        if self.needs_history:
            block[~self.has_evidence(requests, histories)] = -np.inf
        missing = np.isneginf(block)
        if missing.any():
            lowest = np.where(missing, np.float32(0), block).min(1, initial=0.0, keepdims=True)
            np.copyto(block, lowest + prior[None, :], where=missing)
        return block

    def has_evidence(self, requests: Requests, histories: Ragged) -> np.ndarray:
        """bool [q]: which requests the model can answer better than by popularity; those with a known history."""
        return histories.lengths > 0

    def known_history(self, requests: Requests) -> Ragged:
        """Per request, the history rows the model knows, oldest first, nothing after the request's `as_of`."""
        if requests.history is None:
            return Ragged.empty(len(requests))
        items = requests.history.items
        keep = (items.values >= 0) & (items.values < self.num_items)
        times = requests.history.times
        if times is not None and requests.as_of is not None:
            keep &= times.values <= np.repeat(requests.as_of, times.lengths)
        return items if keep.all() else items.filter(keep)

    def _selection(self, where: str | Expression | Selection | None) -> Selection:
        """`where` and the items that still exist, over every row of the catalogue."""
        size = self._size()
        catalog = self.catalog
        if where is None or isinstance(where, Selection):
            selection = Selection.all(size) if where is None else where.resized(size)
            if catalog is not None and catalog.live is not None:
                selection = selection.and_rows(Selection.of_mask(catalog.live))
            return selection
        if catalog is None:
            raise ContractError(f"{type(self).__name__} has no catalogue to read `where` with: call bind(catalog).")
        return catalog.where(where).resized(size)

    def _size(self) -> int:
        return self.num_items if self.catalog is None else max(self.num_items, len(self.catalog))

    def _tie_breaks(self, size: int) -> np.ndarray:
        ties = self._ties if self.catalog is None or len(self.catalog) < size else self.catalog.ids.ties
        return ties

    def _prior(self, size: int) -> np.ndarray:
        """float32 [size] in [-2, -1): what an item without evidence scores, rising with its popularity."""
        counts = np.zeros(size, np.float64)
        counts[: self.num_items] = self.popularity
        return (counts / (counts.max(initial=0) + 1) - 2).astype(np.float32)

    @staticmethod
    def _blocks(requests: int, size: int) -> Iterator[np.ndarray]:
        step = max(1, BLOCK_BYTES // (4 * max(size, 1)))
        for start in range(0, requests, step):
            yield np.arange(start, min(start + step, requests))

    # Keeping

    def save(self, folder: Path) -> None:
        _ = self.num_items
        arrays: dict[str, Any] = {"counts": self._counts, "ties": self._ties, **self._arrays()}
        sparse_names = []
        for name, value in arrays.items():
            if sparse.issparse(value):
                sparse_names.append(name)
                for part in ("data", "indices", "indptr"):
                    np.save(folder / f"{name}.{part}.npy", getattr(value, part))
            else:
                np.save(folder / f"{name}.npy", value)
        stated = {
            "config": json.loads(self.config.model_dump_json()),
            "arrays": [name for name in arrays if name not in sparse_names],
            "sparse": {name: list(arrays[name].shape) for name in sparse_names},
        }
        (folder / "recommender.json").write_text(json.dumps(stated, indent=1))

    @classmethod
    def open(cls, folder: Path) -> Self:
        path = folder / "recommender.json"
        if not path.exists():
            raise ArtifactError(f"{folder} holds no recommender (recommender.json is missing).")
        stated = json.loads(path.read_text())
        made = cls(cls.config_class().parse(stated["config"], where=cls.__name__))
        # Mapped, not read: a large matrix opens at once and is paged in as it is used.
        arrays: dict[str, Any] = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in stated["arrays"]}
        for name, shape in stated["sparse"].items():
            parts = tuple(np.load(folder / f"{name}.{part}.npy") for part in ("data", "indices", "indptr"))
            arrays[name] = sparse.csr_matrix(parts, shape=tuple(shape))
        made._counts, made._ties = np.asarray(arrays.pop("counts")), np.asarray(arrays.pop("ties"))
        made._restore(arrays)
        return made


def _forbid(block: np.ndarray, limits: Selection) -> None:
    """Set what `limits` does not allow to -inf, in place (batch-level rows are left to the caller's column cut)."""
    if limits.include is not None:
        allowed = np.zeros(block.shape, bool)
        keep = (limits.include.values >= 0) & (limits.include.values < block.shape[1])
        allowed[limits.include.groups[keep], limits.include.values[keep]] = True
        block[~allowed] = -np.inf
    if limits.exclude is not None:
        keep = (limits.exclude.values >= 0) & (limits.exclude.values < block.shape[1])
        block[limits.exclude.groups[keep], limits.exclude.values[keep]] = -np.inf


def user_item_matrix(events: Interactions) -> sparse.csr_matrix:
    """1 where a user had at least one event with an item, float32 CSR [users, items]."""
    ones = np.ones(len(events), np.float32)
    matrix = sparse.csr_matrix((ones, (events.user, events.item)), shape=(len(events.users), len(events.items)))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def history_weights(histories: Ragged, items: int, *, decay: float = 1.0, last: int | None = None) -> sparse.csr_matrix:
    """A history as weights over items, CSR [q, items]: `decay` to the power of the distance from the newest event.

    Repeated items add up. last: only that many newest events count.
    """
    histories = histories if last is None else histories.last(last)
    lengths = histories.lengths
    position = np.arange(len(histories.values)) - np.repeat(histories.offsets[:-1], lengths)
    distance = np.repeat(lengths, lengths) - 1 - position
    weights = np.power(np.float32(decay), distance.astype(np.float32))
    return sparse.csr_matrix(
        (weights, histories.values.astype(np.int32), histories.offsets.astype(np.int64)), shape=(len(histories), items)
    )


def strongest(matrix: sparse.csr_matrix, n: int) -> sparse.csr_matrix:
    """The `n` largest entries of every row; equal entries keep the lower column."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    within = np.arange(len(rows)) - matrix.indptr[:-1][rows]
    order = np.sort(order[within < n])
    counts = np.bincount(rows[order], minlength=matrix.shape[0])
    return sparse.csr_matrix(
        (matrix.data[order], matrix.indices[order], np.concatenate(([0], np.cumsum(counts)))), shape=matrix.shape
    )


def evidence(scores: sparse.csr_matrix | np.ndarray) -> np.ndarray:
    """Dense float32 scores with -inf where a sparse score has no entry (or is 0)."""
    dense = scores.toarray() if sparse.issparse(scores) else np.asarray(scores)  # type: ignore[union-attr]
    dense = dense.astype(np.float32, copy=False)
    dense[dense == 0] = -np.inf
    return dense


__all__ = [
    "Contributions",
    "ScoringRecommender",
    "evidence",
    "history_weights",
    "strongest",
    "user_item_matrix",
]
