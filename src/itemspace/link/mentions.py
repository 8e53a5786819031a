"""`MentionLinker`: names as people write them to the catalogue's items, or to none of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config
from itemspace.core.contracts import Linker, Persistent
from itemspace.core.errors import ContractError
from itemspace.core.hits import Hits, Matches
from itemspace.core.ids import Ids
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.topk import top_k
from itemspace.encode.fields import item_texts, request_texts
from itemspace.encode.ngrams import counts

_BITS = 20


class MentionLinkerConfig(Config):
    column: str = Field("title", description="the catalogue column that names an item")
    characters: tuple[int, ...] = Field((3,), description="lengths of character n-grams compared")
    words: int = Field(1, ge=0, description="longest run of words compared")
    threshold: float = Field(0.5, ge=0, le=1, description="cosine below which a mention is NIL, until calibrated")
    k: int = Field(5, ge=1, description="alternatives kept per mention")
    batch_size: int = Field(512, ge=1, description="mentions compared at a time")


class MentionLinker(Linker, Persistent):
    """Links by the cosine of TF-IDF weighted words and character trigrams of the names; below a threshold, to NIL.

    It copes with typing errors, word order and shortened names; it does not know aliases or context. `calibrate` sets the
    threshold from labeled mentions, NIL ones among them. Removed and excluded items are never linked to.
    """

    config: MentionLinkerConfig
    _names: sp.csr_matrix | None = None
    _weights: np.ndarray
    _ids: Ids
    _live: np.ndarray | None = None
    _threshold: float | None = None

    @property
    def threshold(self) -> float:
        """The least score of a link: calibrated, or the config's."""
        return self.config.threshold if self._threshold is None else self._threshold

    def fit(self, catalog: Catalog) -> Self:
        """Read the names of a catalogue; a later call replaces them and keeps the threshold.

        Raises:
            SchemaError: the catalogue has no such column.
        """
        found = self._counts(item_texts(catalog, [self.config.column]))
        frequency = np.bincount(found.indices, minlength=found.shape[1])
        self._weights = (np.log((1 + len(catalog)) / (1 + frequency)) + 1).astype(np.float32)
        self._ids, self._live = catalog.ids, catalog.live
        self._names = self._weigh(found)
        return self

    def link(self, requests: Requests) -> Matches:
        """The best item of every mention (`Requests.text`), NIL (-1) where it scores below the threshold.

        `candidates` holds the k best whatever they score; `scores` the best one's, NIL or not. Equal scores are ordered by
        the hash of the ID.
        """
        best = self._candidates(requests)
        rows, scores = best.rows[:, 0].copy(), np.maximum(best.scores[:, 0], 0)
        rows[scores < self.threshold] = -1
        return Matches(rows, scores.astype(np.float32), self._ids, best)

    def calibrate(self, requests: Requests, rows: np.ndarray) -> Self:
        """Set the threshold that links most of these mentions correctly. rows: int32 [n], -1 for NIL.

        Of equally good thresholds the middle of the widest gap is taken.
        """
        best = self._candidates(requests)
        scores, right = np.maximum(best.scores[:, 0], 0).astype(np.float64), best.rows[:, 0] == rows
        order = np.argsort(-scores, kind="stable")
        scores, right, nil = scores[order], right[order], (rows < 0)[order]
        # Linking the first m: their right links, and the NIL mentions after them, are correct. Cut between scores only.
        correct = np.concatenate(([0], np.cumsum(right))) + np.concatenate((np.cumsum(nil[::-1])[::-1], [0]))
        # Above 1 lies the threshold that links nothing, not even an identical name.
        above, below = np.concatenate(([1.02], scores)), np.concatenate((scores, [0.0]))
        gap = above - below
        value = np.where(gap > 0, correct, -1)
        at = int(np.lexsort((-gap, -value))[0])
        self._threshold = float((above[at] + below[at]) / 2)
        return self

    def save(self, folder: Path) -> None:
        names = self._fitted()
        sp.save_npz(folder / "names.npz", names)
        np.save(folder / "weights.npy", self._weights)
        live = None if self._live is None else self._live.tolist()
        told = {"config": self.config.model_dump(mode="json"), "threshold": self._threshold, "live": live}
        (folder / "linker.json").write_text(json.dumps({**told, "ids": self._ids.values.to_pylist()}))

    @classmethod
    def open(cls, folder: Path) -> Self:
        told: dict[str, Any] = json.loads((folder / "linker.json").read_text())
        linker = cls(cls.config_class().parse(told["config"]))
        linker._names, linker._weights = (
            sp.csr_matrix(sp.load_npz(folder / "names.npz")),
            np.load(folder / "weights.npy"),
        )
        linker._ids, linker._threshold = Ids(told["ids"]), told["threshold"]
        linker._live = None if told["live"] is None else np.array(told["live"], bool)
        return linker

    def _candidates(self, requests: Requests) -> Hits:
        names, live = self._fitted(), self._live
        within = Selection.all(names.shape[0]) if live is None else Selection.of_mask(live)
        parts = []
        for batch in requests.batches(self.config.batch_size):
            scores = (self._weigh(self._counts(request_texts(batch, by="MentionLinker"))) @ names.T).toarray()
            scores[:, ~within.mask] = -np.inf
            if batch.exclude is not None:
                known = batch.exclude.values < names.shape[0]
                scores[batch.exclude.groups[known], batch.exclude.values[known]] = -np.inf
            parts.append(Hits(*top_k(scores, self.config.k, self._ids.ties), self._ids))
        return Hits.concat(parts)

    def _counts(self, texts: Any) -> sp.csr_matrix:
        return counts(texts, words=self.config.words, characters=self.config.characters, bits=_BITS)

    def _weigh(self, found: sp.csr_matrix) -> sp.csr_matrix:
        found.data = found.data * self._weights[found.indices]
        lengths = np.sqrt(np.asarray(found.multiply(found).sum(1)).reshape(-1))
        found.data /= np.repeat(np.where(lengths == 0, 1, lengths), np.diff(found.indptr)).astype(np.float32)
        found.sort_indices()
        return found

    def _fitted(self) -> sp.csr_matrix:
        if self._names is None:
            raise ContractError("this MentionLinker knows no names yet: call fit(catalog) first.")
        return self._names
