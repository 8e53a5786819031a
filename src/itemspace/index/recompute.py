"""`RecomputeIndex`: a graph and a few bytes per item; vectors are computed when a search needs them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from itemspace.core.config import Config
from itemspace.core.contracts import Index
from itemspace.core.errors import ArtifactError, ContractError
from itemspace.core.hits import Hits
from itemspace.core.seeding import RNG, as_seed
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.computing import Computing, Source
from itemspace.index.flat import check_k
from itemspace.index.hubs import hubs_of, pruned_to_hubs
from itemspace.index.links import PackedLinks
from itemspace.index.persist import read_header, space_from, write_header
from itemspace.index.pruning import points_of
from itemspace.index.recompute_codes import ShortCodes, code_bytes_for
from itemspace.index.recompute_search import Frozen, Searched, connected, entries_of, search_frozen
from itemspace.index.rows import Allowed, RowMap
from itemspace.index.scoring import ranked_pairs
from itemspace.index.table import VectorTable, check_queries
from itemspace.index.vamana import VamanaConfig
from itemspace.index.vamana_graph import VamanaGraph

_FORMAT = 1
_TAIL = "added"


class RecomputeConfig(Config):
    """Settings of the graph, the codes and the search."""

    links: int = Field(default=6, ge=1, le=127)
    """Links a vector chooses (and as many more that others made to it)."""
    hubs: float = Field(default=0.02, ge=0.0, le=1.0)
    """The share of vectors that keep many links: those that most others are linked to."""
    hub_links: int = Field(default=40, ge=2, le=240)
    """Links of those."""
    code_bytes: int | None = Field(default=None, ge=1)
    """Bytes of the code from which nearness is guessed; None: one for twelve dimensions, 8 at least."""
    beam: int = Field(default=48, ge=4)
    """Computed vectors a search keeps and goes on from: more find more and compute more."""
    promote: float = Field(default=0.2, gt=0.0, le=1.0)
    """The share of the vectors a search meets that is computed, those first that the codes say are near; 1 computes all."""
    turns: int = Field(default=4, ge=1)
    """Vectors a search goes on from at once: more make larger batches for the encoder."""
    cache: float = Field(default=0.0, ge=0.0, le=1.0)
    """The share of vectors, the most linked first, that are kept and never computed."""
    alpha: float = Field(default=1.2, ge=1.0, le=4.0)
    """See `VamanaConfig`."""
    degree: int = Field(default=32, ge=4, le=255)
    """Links of the graph before it is pruned."""
    threads: int = Field(default=1, ge=0)
    """Threads of the build (0: one per core)."""


@dataclass(frozen=True)
class Size:
    """Bytes on disk. graph: links. codes: with what decodes them. rows: numbers and tie order. cache: kept vectors. added:
    vectors of what was added since, until `compact`."""

    graph: int
    codes: int
    rows: int
    cache: int
    added: int

    @property
    def total(self) -> int:
        return self.graph + self.codes + self.rows + self.cache + self.added


class RecomputeIndex(Index):
    """Approximate search that keeps no vectors: some fifty bytes per item instead of 1,536 (384 dimensions, float32).

    A hub-preserving graph in packed links and a short code per vector are all there is. A search walks the graph, guesses
    from codes which neighbors are near, and has a *source* compute the vectors of those alone: `attach(source)`, where
    source(rows) gives float32 [n, d]. Behind `VectorFree` (an encoder over a catalogue) that is the encoder. Use it where
    disk is short and a query may take as long as encoding some hundred texts; else any other index is quicker.

    Scores are exact, of the vectors the source gives. k answers come back whenever k rows match: a filter that leaves few
    has them all computed, one that leaves more has those computed that the codes rank first.

    What `upsert` adds is kept with its vectors and compared exactly until `compact`, which needs every vector once.

    Source: LEANN (Wang et al. 2025).
    """

    config: RecomputeConfig
    accepts: ClassVar[tuple[type, ...]] = (Dense,)
    exact: ClassVar[bool] = False

    _space: VectorSpace | None = None
    _frozen: Frozen
    _added: VectorTable
    _source: Source | None = None
    _seed: int = 0

    # Building.

    def build(
        self,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        """Index every chunk. The vectors given stay the source (in memory, or mapped as they came) until `attach` or `save`

        and `open`.
        """
        self._seed = as_seed(rng)
        self._freeze(VectorTable.build(chunks, rows, ties))
        return self

    def _freeze(self, table: VectorTable) -> None:
        """Everything in `table` becomes graph and codes."""
        config, slots = self.config, table.rows.slots
        self._space = table.space
        # A second pass makes links longer, which pruning to a few of them takes away again.
        whole = VamanaConfig(degree=config.degree, alpha=config.alpha, passes=1, threads=config.threads)
        graph = VamanaGraph(table, whole, self._seed)
        graph.add(np.arange(slots), table.block(0, 0))
        links = graph._growing().links()
        hubs = hubs_of(links, config.hubs)
        points = points_of(table)
        pruned = pruned_to_hubs(links, hubs, points, config.links, config.hub_links, config.alpha)
        entries = entries_of(hubs, graph.entries, slots)
        packed = connected(pruned.links(), graph.entries, links)
        kept = hubs_of(links, config.cache) if config.cache else np.zeros(0, np.int64)
        sample = np.sort(np.random.default_rng(self._seed).permutation(slots)[:65_536])
        wanted = config.code_bytes or code_bytes_for(table.space.dimension)
        codes = ShortCodes.fit(np.asarray(table.take(sample), np.float32), table.space, wanted, self._seed)
        coded = np.zeros((slots, codes.parts), np.uint8)
        for start in range(0, slots, 65_536):
            coded[start : start + 65_536] = codes.encode(table.block(start, min(start + 65_536, slots)))
        cached = np.asarray(table.take(kept), np.float32)
        self._frozen = Frozen(table.rows, packed, entries, codes, coded, kept, cached, given=lambda at: table.take(at))
        self._added = _empty(table.space)

    # Vectors.

    def attach(self, source: Source) -> Self:
        """Have `source` compute vectors from now on: int32 catalogue rows [n] to float32 [n, d], of this index's space."""
        self._source = source
        return self

    def _computing(self) -> Computing:
        frozen = self._frozen
        given = frozen.given
        if self._source is not None:
            source, rows = self._source, frozen.rows

            def given(at: np.ndarray) -> np.ndarray:
                return source(rows.rows[at])

        if given is None:
            raise ContractError(
                "this index keeps no vectors and none were computed: attach(source) first, where source(rows) gives the "
                "vectors of catalogue rows, or search through VectorFree, which has the encoder do it."
            )
        return Computing(frozen.rows.slots, self.space, given, frozen.kept, frozen.cached)

    # Searching.

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        return self.searched(queries, k, within)[0]

    def searched(self, queries: Any, k: int, within: Selection | None = None) -> tuple[Hits, Searched]:
        """`search`, and what it cost: vectors computed for each query, and distinct ones for all together."""
        check_k(k)
        values = check_queries(self.space, queries)
        frozen, added = self._frozen, self._added
        limits = Allowed.of(frozen.rows, within, len(values))
        computing = self._computing() if frozen.rows.live else Computing.of_nothing(self.space)
        group, slots, scores, cost = search_frozen(frozen, self.config, values, k, limits, computing)
        rows, ties = frozen.rows.rows[slots], frozen.rows.ties[slots]
        more = Allowed.of(added.rows, within, len(values))
        if added.rows.live:
            found, near = added.search(values, k, more)
            query, place = np.nonzero(found >= 0)
            own = added.rows.slots_of(found[query, place])
            group, scores = np.concatenate([group, query]), np.concatenate([scores, near[query, place]])
            rows = np.concatenate([rows, found[query, place]])
            ties = np.concatenate([ties, added.rows.ties[own]])
        best, best_scores = ranked_pairs(group, rows, scores, ties, len(values), k)
        total = limits.counts + more.counts
        return Hits(best, best_scores, total=total, explanation=cost.told(added.rows.live)), cost

    # Changing.

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        self._built()
        self._added.put(vectors, rows, ties)
        self._frozen.rows.drop(rows)

    def remove(self, rows: np.ndarray) -> None:
        self._built()
        self._added.rows.drop(rows)
        self._frozen.rows.drop(rows)

    def compact(self) -> None:
        """A new graph of the live rows; every one of their vectors is computed once.

        Raises:
            ContractError: there is nothing to compute vectors with.
        """
        space, frozen, added = self._built(), self._frozen, self._added
        live, more = np.flatnonzero(frozen.rows.rows >= 0), np.flatnonzero(added.rows.rows >= 0)
        if not len(more) and len(live) == frozen.rows.slots:
            return
        parts = [self._computing().plain(live)] if len(live) else []
        values = np.concatenate([*parts, np.asarray(added.take(more), np.float32)])
        rows = RowMap(
            np.concatenate([frozen.rows.rows[live], added.rows.rows[more]]),
            np.concatenate([frozen.rows.ties[live], added.rows.ties[more]]),
        )
        self._freeze(VectorTable(space, values, rows))

    # Keeping.

    def save(self, folder: Path) -> None:
        folder, space, frozen = Path(folder), self._built(), self._frozen
        frozen.links.save(folder)
        frozen.codes.save(folder)
        np.save(folder / "codes.npy", frozen.coded)
        np.save(folder / "ties.npy", frozen.rows.ties)
        if not np.array_equal(frozen.rows.rows, np.arange(frozen.rows.slots)):
            np.save(folder / "rows.npy", frozen.rows.rows)
        if len(frozen.kept):
            np.save(folder / "kept.npy", frozen.kept.astype(np.int32))
            np.save(folder / "cached.npy", frozen.cached)
        if self._added.rows.live:
            (folder / _TAIL).mkdir()
            self._added.save(folder / _TAIL)
        np.save(folder / "entries.npy", frozen.entries.astype(np.int32))
        about = {"config": self.config.model_dump(), "seed": self._seed}
        write_header(folder, "recompute", _FORMAT, space=space.to_json(), **about)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Links and codes mapped. Before the first search give it a source: `attach`.

        Raises:
            ArtifactError: a file is missing or damaged; the index must be built again.
        """
        folder = Path(folder)
        header = read_header(folder, "recompute", _FORMAT)
        index = cls(cls.config_class().parse(header["config"]))
        index._space = space = space_from(header)
        try:
            index._seed = int(header["seed"])
            index._frozen = Frozen.open(folder, space)
            index._added = VectorTable.open(folder / _TAIL, space) if (folder / _TAIL).is_dir() else _empty(space)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{folder} cannot be read ({error}). Rebuild the index.") from None
        return index

    def size(self) -> Size:
        """Bytes by what they are for."""
        self._built()
        frozen, added = self._frozen, self._added
        numbers = 0 if np.array_equal(frozen.rows.rows, np.arange(frozen.rows.slots)) else 4
        return Size(
            frozen.links.nbytes + 4 * len(frozen.entries),
            frozen.coded.nbytes + frozen.codes.centers.nbytes,
            frozen.rows.slots * (4 + numbers),
            frozen.cached.nbytes + 4 * len(frozen.kept),
            added.rows.slots * (added.space.dimension * added.dtype.itemsize + 12),
        )

    @property
    def space(self) -> VectorSpace:
        """The space of its vectors."""
        return self._built()

    @property
    def links(self) -> PackedLinks:
        """The graph."""
        self._built()
        return self._frozen.links

    def __len__(self) -> int:
        return 0 if self._space is None else self._frozen.rows.live + self._added.rows.live

    def _built(self) -> VectorSpace:
        if self._space is None:
            raise ContractError("RecomputeIndex is empty: call build first.")
        return self._space


def _empty(space: VectorSpace) -> VectorTable:
    return VectorTable(space, np.zeros((0, space.dimension), np.float32), RowMap.empty())
