"""`BM25Index`: words over several weighted fields, live, with filters before the cut."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from itemspace.core.config import Config
from itemspace.core.errors import ContractError
from itemspace.core.hits import Hits
from itemspace.core.ragged import Ragged
from itemspace.core.seeding import RNG
from itemspace.core.selection import Selection
from itemspace.core.vectors import Texts
from itemspace.index.flat import check_k
from itemspace.index.guard import Guarded
from itemspace.index.lexical.analyze import Analyzer, AnalyzerConfig
from itemspace.index.lexical.external import write_postings
from itemspace.index.lexical.limits import Limits
from itemspace.index.lexical.postings import Postings
from itemspace.index.persist import read_header, write_header
from itemspace.index.rows import RowMap, check_rows


class BM25Config(Config):
    """Settings of BM25F."""

    k1: float = Field(default=1.2, ge=0)
    """How soon more occurrences of a word stop counting."""
    b: float = Field(default=0.75, ge=0, le=1)
    """How much a long field is held against its words."""
    weights: dict[str, float] = Field(default_factory=dict)
    """Field -> how much a word in it counts; 1 where nothing is said. Fields of weight 0 are not searched."""
    field_b: dict[str, float] = Field(default_factory=dict)
    """Field -> its own `b`."""
    analyzer: AnalyzerConfig = AnalyzerConfig()
    engine: Literal["numpy", "numba"] = "numpy"
    """numba: compiled loops (extra `lexical`) with the same answers in about half of the time; the first search on a
    machine compiles for some seconds. An index saved so is opened with "numpy" where numba is missing."""


class BM25Index(Guarded):
    """Ranking by the words a query and an item share.

    ```text
    score(q, d) = sum over distinct words t of q:  n(t, q) idf(t) c / (k1 + c)
              c = sum over fields f:  weight_f n(t, d_f) / (1 - b_f + b_f |d_f| / average |f|)
         idf(t) = ln(1 + (N - df + 0.5) / (df + 0.5))
    ```

    N counts the live items with any word, df those with the word in any field, and the average length of a field is
    over the live items that have it. With one field of weight 1 this is Lucene's BM25 (without its one-byte lengths).
    Only items that share a word with the query are hits, so fewer than k may come back.

    Source: Robertson, Zaragoza and Taylor 2004 (BM25F: fields are combined before saturation); Lucene's idf and the
    dropped factor k1 + 1, as in Kamphuis et al. 2020.
    """

    config: BM25Config
    accepts: ClassVar[tuple[type, ...]] = (Texts,)
    exact: ClassVar[bool] = True
    compacts_in_place: ClassVar[bool] = True

    _rows: RowMap | None = None
    _postings: Postings | None = None

    def build(
        self,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        given = None if rows is None else iter(rows)
        held, postings = RowMap.empty(), None
        pending = []
        start = 0
        for chunk in chunks:
            texts = _texts(chunk)
            if postings is None:
                postings = Postings.empty(tuple(texts.fields), self.config)
            own = np.arange(start, start + len(texts)) if given is None else next(given)
            start += len(texts)
            own = check_rows(own, len(texts))
            if (held.slots_of(own) >= 0).any():
                raise ContractError("a row is given twice.")
            pending.append(postings.read(texts, held.append(own, ties)))
        if postings is None:
            raise ContractError("an index needs at least one chunk of texts (it may be empty) to know its fields.")
        postings.add(pending)
        self._rows, self._postings = held, postings
        return self

    def build_into(self, folder: Path, chunks: Iterable[Any], *, ties: np.ndarray | None = None) -> None:
        """`build` and `save` in one, for more text than memory holds: rows 0, 1, 2, ..., in chunks of a few megabytes.

        This object stays as it was: open the folder.
        """
        given = iter(chunks)
        first = next(given, None)
        if first is None:
            raise ContractError("an index needs at least one chunk of texts (it may be empty) to know its fields.")
        postings = Postings.empty(tuple(_texts(first).fields), self.config)
        write_postings(folder, postings, map(_texts, itertools.chain([first], given)), ties)
        write_header(folder, "bm25", 1, config=self.config.model_dump(), fields=list(postings.fields))

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        check_k(k)
        rows, postings = self._held()
        texts = _query_texts(queries)
        found, scores, total = postings.search(texts, k, rows, Limits.of(rows, within, len(texts)))
        return Hits(found, scores, total=total, explanation={"plan": "words", "searched": rows.live})

    def matches(self, queries: Any, within: Selection | None = None) -> Ragged:
        """The rows that share a word with each query, in no order: what totals and facets count. Nothing is scored."""
        rows, postings = self._held()
        texts = _query_texts(queries)
        return postings.matches(texts, rows, Limits.of(rows, within, len(texts)))

    def explain(self, query: str, row: int) -> dict[str, dict[str, float]]:
        """Which word of `query` scored how much in which field of `row`; the parts sum to the score.

        Raises:
            ContractError: the index does not hold the row.
        """
        rows, postings = self._held()
        slot = int(rows.slots_of(np.array([row]))[0])
        if slot < 0:
            raise ContractError(f"the index holds no row {row:,}.")
        return postings.explain(query, slot)

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        texts = _texts(vectors)
        held, postings = self._held()
        rows = check_rows(rows, len(texts))
        unknown = set(texts.fields) - set(postings.fields)
        if unknown:
            raise ContractError(f"the index has no field `{min(unknown)}`; it has {', '.join(postings.fields)}.")
        old = held.slots_of(rows)
        postings.forget(old[old >= 0])
        postings.add([postings.read(texts, held.append(rows, ties))])

    def remove(self, rows: np.ndarray) -> None:
        held, postings = self._held()
        postings.forget(held.drop(rows))

    def compact(self) -> None:
        held, postings = self._held()
        live = np.flatnonzero(held.rows >= 0)
        postings.compact(live, held.slots)
        self._rows = RowMap(held.rows[live], held.ties[live])

    def save(self, folder: Path) -> None:
        held, postings = self._held()
        held.save(Path(folder))
        postings.save(Path(folder))
        write_header(folder, "bm25", 1, config=self.config.model_dump(), fields=list(postings.fields))

    @classmethod
    def open(cls, folder: Path) -> Self:
        header = read_header(folder, "bm25", 1)
        config = dict(header["config"])
        if config.get("engine") == "numba" and not installed("numba"):
            config["engine"] = "numpy"
        index = cls(**config)
        index._rows = RowMap.open(Path(folder))
        index._postings = Postings.open(Path(folder), tuple(header["fields"]), index.config)
        return index

    @property
    def analyzer(self) -> Analyzer:
        """What reads texts and queries."""
        return self._held()[1].analyzer

    @property
    def segments(self) -> int:
        """Runs of postings a search reads; few, however many changes there were."""
        return len(self._held()[1].segments)

    def _held(self) -> tuple[RowMap, Postings]:
        if self._rows is None or self._postings is None:
            raise ContractError(f"{type(self).__name__} is empty: call build first.")
        return self._rows, self._postings

    def __len__(self) -> int:
        return 0 if self._rows is None else self._rows.live


def installed(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:
        return False


def _texts(value: Any) -> Texts:
    if not isinstance(value, Texts):
        raise ContractError(f"this index holds Texts, not {type(value).__name__}.")
    if not value.fields:
        raise ContractError("texts need at least one field.")
    if len({len(values) for values in value.fields.values()}) > 1:
        raise ContractError("the fields differ in length.")
    return value


def _query_texts(queries: Any) -> tuple[str, ...]:
    texts = _texts(queries)
    if len(texts.fields) != 1:
        raise ContractError("a query is one text; it is looked for in every field.")
    return next(iter(texts.fields.values()))
