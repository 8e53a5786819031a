"""The contracts: what a part must do so that every other part works with it.

Each has a test class in `itemspace.testing` that any implementation must pass. Rows are int32 positions in the
catalogue; the front door translates external IDs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn, Protocol, Self, runtime_checkable

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.codes import Codes
from itemspace.core.config import Component
from itemspace.core.errors import ContractError
from itemspace.core.hits import Hits, Matches
from itemspace.core.interactions import Impressions, Interactions
from itemspace.core.judgments import Judgments, Queries
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG
from itemspace.core.selection import Selection
from itemspace.core.vectors import Vectors, VectorSpace

if TYPE_CHECKING:
    from itemspace.core.task import Task
    from itemspace.core.where import Expression

Role = Literal["item", "query"]
Where = "str | Expression | Selection | None"
"""What a `where` parameter accepts; strings are compiled by the catalogue the retriever is bound to."""


_RESERVED = (
    "`{}` between retrievers is reserved for set algebra on meanings. To join rankings use fuse(a, b); to limit what comes "
    "back use retriever >> where(...) or the requests' exclusions."
)


@runtime_checkable
class DatasetLike(Protocol):
    """What `Trainable.fit` reads: `itemspace.data.Dataset`, or anything with its columns."""

    @property
    def catalog(self) -> Catalog: ...

    @property
    def interactions(self) -> Interactions | None: ...

    @property
    def impressions(self) -> Impressions | None: ...

    @property
    def queries(self) -> Queries | None: ...

    @property
    def judgments(self) -> Judgments | None: ...


@dataclass(frozen=True)
class Budget:
    """The most a fit may spend; None means no limit. `seconds` of wall time, `epochs` over the data."""

    seconds: float | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class FitReport:
    """What a fit did: seconds, epochs, the validation curve (metric -> value per evaluation), and anything notable."""

    seconds: float
    epochs: int = 0
    best_epoch: int = 0
    curve: Mapping[str, Sequence[float]] = field(default_factory=dict)
    stopped: str = "finished"
    notes: tuple[str, ...] = ()


class Persistent(ABC):
    """Something saved to and opened from a folder. `save` writes files into an existing empty folder the caller owns

    (the artifact layer makes the write atomic); `open` reads them back. No pickle: safetensors, npy, parquet, JSON.
    """

    @abstractmethod
    def save(self, folder: Path) -> None: ...

    @classmethod
    @abstractmethod
    def open(cls, folder: Path) -> Self: ...


class Encoder(Component, Persistent):
    """Items and requests to `Vectors` of one space."""

    consumes: ClassVar[tuple[str, ...]] = ("text",)
    """The columns of `Requests` it understands (any one suffices)."""

    @property
    @abstractmethod
    def space(self) -> VectorSpace:
        """The space of its vectors; equal spaces mean comparable vectors. Changes when the weights do."""

    @abstractmethod
    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Vectors:
        """Vectors, one per item (role "item") or request (role "query"), in order. Deterministic."""

    def fit(self, catalog: Catalog, *, rng: RNG = 0) -> Self:
        """Learn what the encoder needs from the catalogue alone. Encoders with ready weights return themselves."""
        return self

    def __rshift__(self, index: Index) -> Any:
        from itemspace.core.operators import Encoded

        return Encoded(self, index)


class ItemTokenizer(Component, Persistent):
    """Representations to `Codes`."""

    @abstractmethod
    def fit(self, representations: Vectors, *, rng: RNG = 0) -> Self: ...

    @abstractmethod
    def assign(self, representations: Vectors) -> Codes: ...


class Index(Component, Persistent):
    """Vectors (or codes, or texts) to candidates.

    `search` returns the k best live rows by score for every query, ties by `ties` when given to `build`; `within` limits
    the answers before the cut: k hits come back whenever k rows match. Scores are larger-is-better in the metric of the
    space (cosine and dot as they are, euclidean as the negated distance).
    """

    accepts: ClassVar[tuple[type, ...]] = ()
    """The value types it holds: Dense, Sparse, Multi, Gaussian, Texts, Codes."""
    exact: ClassVar[bool] = False
    """True when answers equal an exhaustive scan."""

    @abstractmethod
    def build(
        self,
        chunks: Iterable[Vectors | Codes],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        """Index every chunk; `rows` gives each chunk's int32 rows (default 0, 1, 2, ...). Replaces what was there.

        `ties` is uint32 with one entry per catalogue row (`catalog.ids.ties`), the order among equal scores; without it
        a hash of the row decides. At least one chunk, which may be empty, is needed.
        """

    @abstractmethod
    def search(self, queries: Vectors, k: int, within: Selection | None = None) -> Hits:
        """The k best rows of every query.

        Raises:
            SpaceMismatchError: the queries are of another space than the indexed vectors.
        """

    @abstractmethod
    def upsert(self, vectors: Vectors | Codes, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        """Add rows, or replace what they hold; visible to the next search. `ties` by catalogue row, as in `build`."""

    @abstractmethod
    def remove(self, rows: np.ndarray) -> None:
        """Rows that must not come back; unknown rows are ignored."""

    def compact(self) -> None:
        """Reclaim what removed and replaced rows left behind. Answers do not change (approximate ones may improve)."""
        return

    @abstractmethod
    def __len__(self) -> int:
        """Live rows."""


class Retriever(ABC):
    """Requests to `Hits`: an encoder with an index, a recommender, a fusion of retrievers, a store."""

    @abstractmethod
    def search(self, requests: Requests, k: int, where: str | Expression | Selection | None = None) -> Hits:
        """The k best items of every request among those `where` allows and the request does not exclude.

        The filter applies before the cut: k hits come back whenever k items match.

        Raises:
            RequestError: the requests lack the columns this retriever reads.
            FilterError: `where` is a string and does not parse or fit.
        """

    def bind(self, catalog: Catalog) -> Self:
        """Give the retriever the catalogue that compiles its `where` strings and decodes its rows."""
        self._catalog = catalog
        return self

    @property
    def catalog(self) -> Catalog | None:
        return getattr(self, "_catalog", None)

    def __rshift__(self, scorer: Any) -> Any:
        from itemspace.core.operators import reranked

        return reranked(self, scorer)

    def __and__(self, other: Any) -> NoReturn:
        raise ContractError(_RESERVED.format("&"))

    def __sub__(self, other: Any) -> NoReturn:
        raise ContractError(_RESERVED.format("-"))


class Scorer(ABC):
    """Requests and their candidates to scores: a CTR model, a cross-encoder, a matcher. A reranker is scorer + cut."""

    @abstractmethod
    def score(self, requests: Requests, candidates: np.ndarray) -> np.ndarray:
        """float32 [q, c] for int32 candidate rows [q, c]; -inf where the candidate is -1. Larger is better.

        A pair's score does not depend on the other candidates unless the class says so.
        """

    def __mod__(self, depth: int) -> Any:
        from itemspace.core.operators import Cut

        return Cut(self, depth)


class Trainable(ABC):
    """Something that learns from a dataset's training events."""

    @abstractmethod
    def fit(
        self,
        dataset: DatasetLike,
        *,
        valid: Task | None = None,
        budget: Budget | None = None,
        warm: Self | None = None,
        rng: RNG = 0,
    ) -> FitReport:
        """Learn. `valid` is for early stopping and reporting only. `warm` continues from an earlier fit of the same kind.

        The same data, config, seed, versions, machine and threads give the same answers.
        """


class Recommender(Component, Retriever, Scorer, Trainable, Persistent):
    """Histories (and users) to `Hits`. An unknown user with a history is answered; one without gets popularity."""


class Linker(Component, ABC):
    """Mentions, records or columns to `Matches`."""

    @abstractmethod
    def link(self, requests: Requests) -> Matches:
        """One match (or NIL) per request."""
