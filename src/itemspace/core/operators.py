"""The operators that compose retrievers; they know only the contracts.

```python
dense = encoder >> index                          # an encoder and an index are a retriever
better = dense >> scorer % 50                     # the top 50 rescored
hybrid = fuse(dense, words, method="rrf")         # several retrievers, one ranking
cheap = hybrid >> where("price < 80")             # a filter, pushed down to every branch
hits = cheap.bind(catalog).search(Requests.texts(["waterproof boots"]), 10)
print(hits.explanation)                           # what was filtered where, what was exact, how long it took
```
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, TypeAlias, get_args

import numpy as np

from itemspace.core.asking import check_k, compiled, selection, told
from itemspace.core.contracts import Encoder, Index, Retriever, Scorer
from itemspace.core.errors import ContractError, nearest
from itemspace.core.explain import Explanation, Stopwatch
from itemspace.core.fusion import METHODS, FusionMethod, appended, fuse_hits
from itemspace.core.hits import Hits
from itemspace.core.requests import Requests
from itemspace.core.rescoring import below, reordered
from itemspace.core.seeding import RNG
from itemspace.core.selection import Selection
from itemspace.core.sharing import once, run
from itemspace.core.vectors import Vectors

if TYPE_CHECKING:
    from itemspace.core.catalog import Catalog
    from itemspace.core.where import Expression

    Filter: TypeAlias = str | Expression | Selection | None

DEFAULT_DEPTH = 100
"""Candidates a fusion takes from each branch, and a scorer without a cut rescores."""

_LOWEST = np.float32(-1e30)


class Composite(Retriever):
    """A retriever made of other parts; binding a catalogue binds them too."""

    @property
    def children(self) -> tuple[Any, ...]:
        """The parts, outermost first."""
        return ()

    def bind(self, catalog: Catalog) -> Self:
        super().bind(catalog)
        for child in self.children:
            if hasattr(child, "bind"):
                child.bind(catalog)
        return self


class Encoded(Composite):
    """`encoder >> index`: requests are encoded as queries and looked up.

    Raises:
        ContractError: the index does not hold what the encoder makes.
        SpaceMismatchError: the index was built over another space than the encoder's (here when the index says its space,
            at the latest when searched).
    """

    def __init__(self, encoder: Encoder, index: Index) -> None:
        if not isinstance(index, Index):
            raise ContractError(f"`encoder >> {type(index).__name__}`: an encoder is followed by an index.")
        made = produced(encoder)
        if made and index.accepts and not set(made) & set(index.accepts):
            raise ContractError(
                f"{type(index).__name__} holds {_names(index.accepts)}, {type(encoder).__name__} makes {_names(made)}."
            )
        # An index that holds nothing yet has no space to disagree about.
        space = getattr(index, "space", None) if len(index) else None
        if space is not None:
            space.check(encoder.space)
        self.encoder, self.index = encoder, index

    @property
    def children(self) -> tuple[Any, ...]:
        return (self.encoder, self.index)

    def build(self, catalog: Catalog, *, chunk_size: int = 65_536, rng: RNG = 0) -> Self:
        """Encode the catalogue, a chunk at a time, into the index, and bind it. Removed items are left out."""
        chunks = (self.encoder.encode(part, role="item") for part in catalog.chunks(chunk_size))
        self.index.build(chunks, ties=catalog.ids.ties, rng=rng)
        if catalog.live is not None:
            self.index.remove(np.flatnonzero(~catalog.live).astype(np.int32))
        return self.bind(catalog)

    def search(self, requests: Requests, k: int, where: Filter = None) -> Hits:
        check_k(k)
        requests.require(*self.encoder.consumes, by=type(self.encoder).__name__)
        watch = Stopwatch()
        within = selection(requests, where, self.catalog, len(self.index))
        chosen = watch.milliseconds
        vectors = once((self.encoder, "encode"), requests, lambda: self.encoder.encode(requests, role="query"))
        if self.index.accepts and not isinstance(vectors, self.index.accepts):
            raise ContractError(
                f"{type(self.index).__name__} holds {_names(self.index.accepts)}, "
                f"{type(self.encoder).__name__} made {type(vectors).__name__}."
            )
        encoded = watch.milliseconds
        hits = self.index.search(vectors, k, within)
        total, n = watch.milliseconds, len(requests)
        filtered = told(within, n)
        if filtered:
            filtered += " before the cut, in the index"
        parts = (
            Explanation(f"encode with {type(self.encoder).__name__}", encoded - chosen, n, k),
            Explanation(
                f"look up in {type(self.index).__name__}",
                total - encoded,
                n,
                k,
                filtered,
                self.index.exact,
                parts=_parts(hits),
            ),
        )
        return finished(hits, self, Explanation(repr(self), total, n, k, parts=parts))

    def __repr__(self) -> str:
        return f"{type(self.encoder).__name__} >> {type(self.index).__name__}"


@dataclass(frozen=True)
class Cut:
    """`scorer % depth`: rescore the first `depth` candidates."""

    scorer: Scorer
    depth: int

    def __post_init__(self) -> None:
        if not isinstance(self.scorer, Scorer):
            raise ContractError(f"`%` cuts the candidates of a scorer; {type(self.scorer).__name__} is not one.")
        if isinstance(self.depth, bool) or not isinstance(self.depth, int) or self.depth < 1:
            raise ContractError(f"a cut-off is a whole number of at least 1, got {self.depth!r}.")


@dataclass(frozen=True)
class WhereStep:
    """`where(expression)`: a pipeline step that limits what comes back."""

    expression: str | Expression | Selection


class Reranked(Composite):
    """`retriever >> scorer % depth`: the retriever's first `depth` hits in the scorer's order.

    The cut-off is pushed down: the retriever is asked for `max(k, depth)` hits. Hits beyond `depth` follow in their own
    order, with scores continued downwards from the lowest rescored one (only their order means something).
    """

    def __init__(self, retriever: Retriever, cut: Cut) -> None:
        if not isinstance(retriever, Retriever):
            raise ContractError(f"a scorer rescores the hits of a retriever; {type(retriever).__name__} is not one.")
        self.retriever, self.scorer, self.depth = retriever, cut.scorer, cut.depth

    @property
    def children(self) -> tuple[Any, ...]:
        return (self.retriever, self.scorer)

    def search(self, requests: Requests, k: int, where: Filter = None) -> Hits:
        check_k(k)
        watch = Stopwatch()
        first = run(self.retriever, requests, max(k, self.depth), where)
        retrieved, n = watch.milliseconds, len(requests)
        head = first.cut(self.depth)
        scores = self._scores(requests, head.rows)
        hits = below(reordered(head, scores, ids_of(self, first)), first, self.depth).cut(k)
        total = watch.milliseconds
        note = f"first {min(self.depth, first.k):,} rescored"
        step = Explanation(f"score with {type(self.scorer).__name__}", total - retrieved, n, k, note=note)
        return finished(hits, self, Explanation(repr(self), total, n, k, parts=(*_parts(first), step)))

    def _scores(self, requests: Requests, rows: np.ndarray) -> np.ndarray:
        scores = np.asarray(self.scorer.score(requests, rows), np.float32)
        name = type(self.scorer).__name__
        if scores.shape != rows.shape:
            raise ContractError(f"{name} gave scores {scores.shape} for candidates {rows.shape}.")
        if np.isnan(scores[rows >= 0]).any():
            raise ContractError(f"{name} gave a score that is not a number.")
        # A candidate is a hit whatever the scorer thinks of it: -inf is how absent places are told apart.
        return np.where(rows >= 0, np.maximum(scores, _LOWEST), -np.inf).astype(np.float32)

    def __repr__(self) -> str:
        return f"{self.retriever!r} >> {type(self.scorer).__name__} % {self.depth}"


class Filtered(Composite):
    """`retriever >> where(expression)`: the retriever's answers among the rows that match, filtered before its cut."""

    def __init__(self, retriever: Retriever, expression: str | Expression | Selection) -> None:
        self.retriever, self.expression = retriever, expression

    @property
    def children(self) -> tuple[Any, ...]:
        return (self.retriever,)

    def search(self, requests: Requests, k: int, where: Filter = None) -> Hits:
        check_k(k)
        watch = Stopwatch()
        within = self.within(requests, where)
        hits = run(self.retriever, requests, k, within)
        note = f"{within.count:,} of {within.size:,} rows match, pushed down"
        step = Explanation(repr(self), watch.milliseconds, len(requests), k, note=note, parts=_parts(hits))
        return finished(hits, self, step)

    def within(self, requests: Requests, where: Filter = None) -> Selection:
        """The rows both filters leave; the same object for the same question inside `sharing()`."""

        def both() -> Selection:
            mine = compiled(self.expression, self.catalog)
            assert mine is not None
            return mine.and_rows(compiled(where, self.catalog))

        return once((self, "within", where), requests, both)

    def __repr__(self) -> str:
        told = self.expression if isinstance(self.expression, str) else type(self.expression).__name__
        return f"{self.retriever!r} >> where({told})"


class Fused(Composite):
    """Several retrievers, one ranking; see `fuse`."""

    def __init__(
        self,
        retrievers: Sequence[Retriever],
        *,
        method: FusionMethod = "rrf",
        weights: Sequence[float] | None = None,
        depth: int = DEFAULT_DEPTH,
        constant: float = 60.0,
    ) -> None:
        if len(retrievers) < 1:
            raise ContractError("fuse needs at least one retriever.")
        for part in retrievers:
            if not isinstance(part, Retriever):
                raise ContractError(f"fuse joins retrievers; {type(part).__name__} is not one.")
        if method not in METHODS:
            known = ", ".join(METHODS)
            raise ContractError(f"no fusion method `{method}`.{nearest(str(method), METHODS)} Methods: {known}.")
        if weights is not None and len(weights) != len(retrievers):
            raise ContractError(f"{len(weights)} weights for {len(retrievers)} retrievers.")
        if weights is not None and (not np.isfinite(weights).all() or min(weights) < 0 or sum(weights) == 0):
            raise ContractError(f"weights are numbers of at least 0, one of them above 0; got {list(weights)}.")
        if depth < 1 or constant <= 0:
            raise ContractError(f"depth is at least 1 and constant above 0; got {depth} and {constant}.")
        self.retrievers = tuple(retrievers)
        self.method, self.depth, self.constant = method, depth, constant
        self.weights = tuple(float(w) for w in (weights if weights is not None else [1.0] * len(retrievers)))

    @property
    def children(self) -> tuple[Any, ...]:
        return self.retrievers

    def search(self, requests: Requests, k: int, where: Filter = None) -> Hits:
        check_k(k)
        watch = Stopwatch()
        within = compiled(where, self.catalog) if self.catalog is not None else where
        depth = self.depth
        branches = self.candidates(requests, depth, within)
        parts, merging = [part for branch in branches for part in _parts(branch)], 0.0
        hits: Hits | None = None
        while True:
            began = watch.milliseconds
            hits = self._merged(branches, k) if hits is None else appended(hits, self._merged(branches, 2 * k), k)
            merging += watch.milliseconds - began
            filled = any((branch.found == depth).any() for branch in branches)
            if not filled or (hits.found == k).all():
                break
            # Deeper blocks come after shallower ones, so the hits for a smaller k begin those for a larger one.
            depth *= 2
            branches = self.candidates(requests, depth, within)
            parts += [part for branch in branches for part in _parts(branch)]
        n = len(requests)
        note = f"union of the first {depth:,} of each branch; weights {', '.join(f'{w:g}' for w in self.weights)}"
        step = Explanation(f"fuse by {self.method}", merging, n, k, note=note)
        return finished(hits, self, Explanation(repr(self), watch.milliseconds, n, k, parts=(*parts, step)))

    def _merged(self, branches: list[Hits], k: int) -> Hits:
        ids = ids_of(self, *branches)
        return fuse_hits(branches, k, method=self.method, weights=self.weights, constant=self.constant, ids=ids)

    def candidates(self, requests: Requests, depth: int, where: Filter = None) -> list[Hits]:
        """The first `depth` hits of every branch, in the order of the branches."""
        return [run(part, requests, depth, where) for part in self.retrievers]

    def __repr__(self) -> str:
        return f"fuse({', '.join(map(repr, self.retrievers))}, method={self.method})"


def fuse(
    *retrievers: Retriever,
    method: FusionMethod = "rrf",
    weights: Sequence[float] | None = None,
    depth: int = DEFAULT_DEPTH,
    constant: float = 60.0,
) -> Fused:
    """One ranking from several retrievers, over the union of the first `depth` hits of each.

    method: "rrf", reciprocal rank fusion, sum of weight / (constant + rank) with rank from 1 (Cormack, Clarke and
    Büttcher 2009, constant 60): no scores needed, nothing to tune, start here. "weighted": weighted sum of scores scaled
    to [0, 1] within each branch's hits; better than "rrf" when its weights are tuned on training queries
    (`itemspace.search.tune_fusion`). "z-score": the same with scores standardized, less sensitive to one outlying hit.

    A filter and the requests' exclusions go to every branch before its cut, so k hits come back whenever the branches
    have k matching items between them: where the union is smaller than k, the branches are read deeper (twice as deep each
    time) and what they bring is appended. Equal scores are ordered by the hash of the ID.

    Raises:
        ContractError: something here is not a retriever, or weights do not fit.
    """
    return Fused(retrievers, method=method, weights=weights, depth=depth, constant=constant)


def where(expression: str | Expression | Selection) -> WhereStep:
    """A step that limits a retriever to the items that match: `retriever >> where("price < 80 and in_stock")`."""
    return WhereStep(expression)


def reranked(retriever: Retriever, step: Any) -> Composite:
    """What `retriever >> step` makes: a scorer, a cut scorer or a `where(...)`.

    Raises:
        ContractError: the step is none of these.
    """
    if isinstance(step, WhereStep):
        return Filtered(retriever, step.expression)
    if isinstance(step, Cut):
        return Reranked(retriever, step)
    if isinstance(step, Scorer):
        return Reranked(retriever, Cut(step, DEFAULT_DEPTH))
    raise ContractError(
        f"a retriever is followed by a scorer, `scorer % depth` or `where(...)`, not by {type(step).__name__}."
    )


def produced(encoder: Encoder) -> tuple[type, ...]:
    """The value types an encoder's `encode` says it returns; empty when it says no more than `Vectors`."""
    try:
        kind = typing.get_type_hints(type(encoder).encode).get("return")
    except (NameError, TypeError):
        return ()
    kinds = get_args(kind) or ((kind,) if isinstance(kind, type) else ())
    every = set(get_args(Vectors))
    return () if set(kinds) == every else tuple(k for k in kinds if k in every)


def ids_of(step: Retriever, *hits: Hits) -> Any:
    """The IDs that decode rows: the bound catalogue's, or those the hits came with."""
    if step.catalog is not None:
        return step.catalog.ids
    return next((h.ids for h in hits if h.ids is not None), None)


def finished(hits: Hits, step: Retriever, explanation: Explanation) -> Hits:
    """Hits with IDs and the explanation attached."""
    return replace(hits, ids=ids_of(step, hits), explanation=explanation)


def _parts(hits: Hits) -> tuple[Explanation, ...]:
    found = hits.explanation
    return (found,) if isinstance(found, Explanation) else ()


def _names(kinds: Iterable[type]) -> str:
    return " or ".join(kind.__name__ for kind in kinds)
