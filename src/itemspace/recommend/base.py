"""What every recommender shares: from scores to hits, filters before the cut, and a place for every item.

A model says only how much it likes each item it knows: densely (`score_block`), or, where a history touches few items, by
sparse links between items (`links` and `read`), so that a request costs what its history touches and not the catalogue.
This base turns that into answers:

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
from itemspace.recommend.links import (
    FEW,
    cut_by,
    evidence,
    linked,
    strongest,
    user_item_matrix,
    weighted,
)
from itemspace.recommend.ranked import Standing, best_allowed, best_of, best_of_block, contains, included

if TYPE_CHECKING:
    from itemspace.core.where import Expression

BLOCK_BYTES = 16 << 20
"""The most memory one block of scores [q, items] takes (float32); a batch of requests is cut to fit."""
LINKS = 4_000_000
"""The most links that are added up at a time (about 100 MB with their ranking); a batch of requests is cut to fit."""


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

    A subclass implements `fit` (calling `_begin` first), `score_block` (or `links` and `read`), `_arrays` and `_restore`.
    """

    needs_history: ClassVar[bool] = True
    """Whether a request without a known history has no evidence (and so gets popularity)."""

    _counts: np.ndarray | None = None
    _ties: np.ndarray
    _kept_alive: tuple[np.ndarray, Selection] | None = None
    _kept_standing: tuple[np.ndarray, np.ndarray, Standing] | None = None
    _kept_unseen: tuple[np.ndarray, np.ndarray] | None = None

    def score_block(self, requests: Requests, histories: Ragged) -> np.ndarray:
        """float32 [q, num_items], larger is better; -inf where there is no evidence about the pair.

        `histories` holds what may be used of each request's history: known rows, nothing after `as_of`, oldest first.
        The array may be changed by the caller. A model with `links` has no need to say how.
        """
        links = self.links
        if links is None:
            raise NotImplementedError(f"{type(self).__name__} must score: implement score_block, or links and read.")
        return evidence(weighted(*self.read(histories), self.num_items) @ links)

    @property
    def links(self) -> sparse.csr_matrix | None:
        """Weights from item to item, CSR [num_items, num_items], of a model whose scores are `read(histories) @ links`.

        Sums above 0 are evidence. Only items with training events may be linked to. None: the model scores densely.
        """
        return None

    def read(self, histories: Ragged) -> tuple[Ragged, np.ndarray]:
        """The events that count and the weight of each above 0, float32 [total]: the left side of `links`."""
        return histories, np.ones(len(histories.values), np.float32)

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
        counts = self.popularity
        if self._kept_unseen is None or self._kept_unseen[0] is not counts:
            self._kept_unseen = (counts, np.flatnonzero(counts == 0))
        return self._kept_unseen[1]

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
        standing = self._standing(selection.size)
        rows = np.full((len(requests), k), -1, np.int32)
        scores = np.full((len(requests), k), -np.inf, np.float32)
        for at in self._portions(requests, selection.size):
            whole = len(at) == len(requests)
            part = requests if whole else requests.take(at)
            limits = selection if whole or not selection.per_request else selection.take(at)
            if limits.include is not None:
                # Each request names its own candidates: they are scored and ranked, the catalogue is not.
                mine = included(limits)
                values = self._pairs(part, mine.groups, mine.values)
                rows[at], scores[at] = best_of(mine.lengths, mine.values, values, k, self._tie_breaks(selection.size))
                continue
            best, held, below = self._best(part, k, limits)
            standing.fill(best, held, below=below, allowed=limits.rows, exclude=limits.exclude)
            rows[at], scores[at] = best, held
        total = selection.counts(len(requests))
        return Hits(rows, scores, None if self.catalog is None else self.catalog.ids, total=total)

    def _best(self, requests: Requests, k: int, limits: Selection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The k best items with evidence that `limits` (without `include`) allows: rows and scores [q, k], -1 for none.

        Third: float32 [q], what the scores of items without evidence start from, so that they follow all others.
        """
        histories, ties = self.known_history(requests), self._tie_breaks(limits.size)
        if self.links is not None:
            lengths, columns, values = linked(*self.read(histories), self.links)
            if limits.rows is not None:
                # A mask is as long as the catalogue: for few columns they are looked up instead.
                few = FEW * len(columns) < limits.size
                keep = contains(limits.rows, columns) if few else limits.mask[columns]
                ends = np.cumsum(keep)[np.cumsum(lengths) - 1] if len(keep) else np.zeros(len(lengths), np.int64)
                lengths = np.diff(np.where(np.cumsum(lengths) > 0, ends, 0), prepend=0)
                columns, values = columns[keep], values[keep]
            rows, scores = best_allowed(lengths, columns, values, k, ties, limits.exclude)
            return rows, scores, np.zeros(len(requests), np.float32)
        block = self._evidence(requests, histories)
        below, gone = np.zeros(len(block), np.float32), limits.exclude
        if gone is not None:
            gone = gone.filter((gone.values >= 0) & (gone.values < block.shape[1]))
            held = block[gone.groups, gone.values]
            np.minimum.at(below, gone.groups, np.where(np.isneginf(held), np.float32(0), held))
            block[gone.groups, gone.values] = -np.inf
        if limits.rows is None:
            rows, scores = best_of_block(block, k, ties)
        else:
            known = limits.rows[limits.rows < block.shape[1]]
            place, scores = best_of_block(block[:, known], k, ties[known])
            rows = np.where(place < 0, -1, known[np.maximum(place, 0)] if len(known) else -1).astype(np.int32)
        short = np.flatnonzero(rows[:, -1] < 0)
        lowest = np.where(np.isneginf(block[short]), np.float32(0), block[short]).min(1, initial=0.0)
        below[short] = np.minimum(below[short], lowest)
        return rows, scores, below

    def score(self, requests: Requests, candidates: np.ndarray) -> np.ndarray:
        requests.require("history", "user", by=type(self).__name__)
        candidates = np.asarray(candidates, np.int32)
        out = np.empty(candidates.shape, np.float32)
        for at in self._portions(requests, max(self._size(), int(candidates.max(initial=-1)) + 1)):
            rows = np.maximum(candidates[at], 0)
            group = np.repeat(np.arange(len(at)), candidates.shape[1])
            out[at] = self._pairs(requests.take(at), group, rows.ravel()).reshape(rows.shape)
        return np.where(candidates < 0, np.float32(-np.inf), out)

    def _pairs(self, requests: Requests, group: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The scores of pairs (request `group` [m], item row [m]), float32 [m]."""
        histories = self.known_history(requests)
        standing = self._standing(max(self._size(), int(rows.max(initial=-1)) + 1))
        known = rows < self.num_items
        column = np.where(known, rows, 0)
        if self.links is not None:
            lengths, columns, sums = linked(*self.read(histories), self.links)
            ends = np.concatenate(([0], np.cumsum(lengths)))
            found = sparse.csr_matrix((sums, columns, ends), shape=(len(requests), self.num_items))
            found.sort_indices()
            values = np.asarray(found[group, column], np.float32).ravel() if len(rows) else np.zeros(0, np.float32)
            return np.where(known & (values > 0), values, standing.scores[rows])
        block = self._evidence(requests, histories)
        missing = np.isneginf(block[group, column]) | ~known
        lowest = np.zeros(len(block), np.float32)
        at = np.unique(group[missing])
        lowest[at] = np.where(np.isneginf(block[at]), np.float32(0), block[at]).min(1, initial=0.0)
        return np.where(missing, lowest[group] + standing.scores[rows], block[group, column])

    def _evidence(self, requests: Requests, histories: Ragged) -> np.ndarray:
        """Dense scores [q, num_items] with -inf wherever the model has no evidence."""
        block = self.score_block(requests, histories)
        if self._unseen.size:
            block[:, self._unseen] = -np.inf
        if self.needs_history:
            known = self.has_evidence(requests, histories)
            if not known.all():
                block[~known] = -np.inf
        return block

    def _scores(self, requests: Requests, prior: np.ndarray) -> np.ndarray:
        """The slow, obvious way to an answer: scores of every row [q, size], to be cut by the caller.

        Items without evidence are below all others, in the order of `prior`. `search` gives the same answers.
        """
        block = self._evidence(requests, self.known_history(requests))
        if block.shape[1] < len(prior):
            unseen = np.full((len(block), len(prior) - block.shape[1]), -np.inf, np.float32)
            block = np.concatenate([block, unseen], axis=1)
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
                selection = selection.and_rows(self._alive(catalog.live))
            return selection
        if catalog is None:
            raise ContractError(f"{type(self).__name__} has no catalogue to read `where` with: call bind(catalog).")
        return catalog.where(where).resized(size)

    def _alive(self, live: np.ndarray) -> Selection:
        """The rows of a live mask, found once per mask."""
        if self._kept_alive is None or self._kept_alive[0] is not live:
            self._kept_alive = (live, Selection.of_mask(live))
        return self._kept_alive[1]

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

    def _standing(self, size: int) -> Standing:
        """What everybody gets without evidence, over `size` rows; ranked once per fit and catalogue."""
        counts, ties = self.popularity, self._tie_breaks(size)
        held = self._kept_standing
        if held is None or held[0] is not counts or held[1] is not ties or len(held[2].scores) != size:
            prior = self._prior(size)
            shown = ties if len(ties) == size else np.resize(ties, size)
            self._kept_standing = held = (counts, ties, Standing.of(prior, shown))
        return held[2]

    def _portions(self, requests: Requests, size: int) -> Iterator[np.ndarray]:
        """The requests in blocks: by links to add up where there are `links`, else by scores to hold."""
        if self.links is None:
            yield from self._blocks(len(requests), size)
            return
        held = self.known_history(requests)
        work = np.diff(self.links.indptr)[held.values]
        total = np.concatenate(([0], np.cumsum(work)))[held.offsets[1:]].astype(np.float64)
        yield from (np.arange(start, stop) for start, stop in cut_by(total, LINKS))

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


__all__ = [
    "Contributions",
    "ScoringRecommender",
    "evidence",
    "strongest",
    "user_item_matrix",
]
