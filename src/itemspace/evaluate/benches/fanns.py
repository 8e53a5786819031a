"""Filtered nearest-neighbor search: engines by kind of filter, by how the filter goes with the query, by selectivity.

exact scores everything and drops what the filter rejects; pre scores only what it passes; post searches without it and
drops; acorn searches a graph among what passes; hnsw and ivf plan per query; faiss-hnsw collects what passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, MissingExtraError
from itemspace.core.ragged import Ragged
from itemspace.core.report import Curve, Measure, Report
from itemspace.core.seeding import RNG, derive
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace, normalize
from itemspace.data.attributed import RELATIONS, Attributed, read_attributed
from itemspace.encode.cache import encode_catalog
from itemspace.encode.lsa import LSAEncoder
from itemspace.encode.sentence_transformer import SentenceTransformerEncoder
from itemspace.evaluate.benches import chosen
from itemspace.evaluate.provenance import hardware, versions
from itemspace.index.acorn import AcornIndex
from itemspace.index.flat import FlatIndex
from itemspace.index.hnsw import HNSWIndex
from itemspace.index.ivf import IVFIndex

ENGINES = ("exact", "pre", "post", "acorn", "hnsw", "ivf", "faiss-hnsw")
EF = 256
"""Candidates of every graph, so that post and in-graph filtering are compared at the same effort."""
QUERIES = 300
DIMENSION = 128
BANDS = ((0.001, "under 0.1%"), (0.01, "0.1-1%"), (0.1, "1-10%"), (0.5, "10-50%"), (np.inf, "50% or more"))
TOLD = {"with": "with the query", "independent": "independent of it", "against": "against it"}
EFFORTS = (16, 32, 64, 128, 256, 512)
SWEPT = ("post", "acorn", "faiss-hnsw")
"""Engines whose effort is swept, for curves of recall and speed by selectivity."""
MOST = 300
"""Pairs of query and filter per curve."""


@dataclass(frozen=True)
class Asked:
    """One engine under one filter per query: recall per query [q] (NaN where nothing matches), CPU seconds of the batch,

    and vectors compared per query [q] where the engine says.
    """

    recall: np.ndarray
    seconds: float
    compared: np.ndarray | None = None


class Engines:
    """Everything built over the items, once."""

    def __init__(self, data: Attributed, *, ef: int = EF, rng: RNG = 0) -> None:
        self.data, self.ef, self.rng = data, ef, rng
        self._made: dict[str, Any] = {}

    def _index(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            ties = self.data.catalog.ids.ties
            self._made[name] = make().build([self.data.items], ties=ties, rng=self.rng)
        return self._made[name]

    @property
    def graph(self) -> AcornIndex:
        """The one graph of acorn and post."""
        made: AcornIndex = self._index("acorn", lambda: AcornIndex(ef=self.ef, exact_up_to=0))
        return made

    def aim(self, ef: int) -> None:
        """Search every graph with another effort from here on."""
        self.ef = ef
        self.graph.config = self.graph.config.model_copy(update={"ef": ef})

    def search(self, engine: str, queries: Dense, k: int, within: Selection) -> np.ndarray:
        """Rows [q, k], -1 where fewer were found.

        Raises:
            MissingExtraError: what the engine stands on is not installed.
        """
        if engine == "exact":
            return exact_rows(self.data.items, queries, k, within)
        if engine == "post":
            return self._after(queries, k, within)
        if engine == "faiss-hnsw":
            return self._faiss(queries, k, within)
        kinds: Mapping[str, Callable[[], Any]] = {"pre": FlatIndex, "hnsw": HNSWIndex, "ivf": IVFIndex}
        index = self.graph if engine == "acorn" else self._index(engine, kinds[engine])
        found: np.ndarray = index.search(queries, k, within).rows
        return found

    def _after(self, queries: Dense, k: int, within: Selection) -> np.ndarray:
        """Without the filter first: of `ef` candidates the k best that pass."""
        found = self.graph.search(queries, self.ef).rows
        out = np.full((len(queries), k), -1, np.int32)
        passes: np.ndarray = _passes(found, within)
        rank: np.ndarray = np.cumsum(passes, axis=1) - 1
        group, column = np.nonzero(passes & (rank < k))
        out[group, rank[group, column]] = found[group, column]
        return out

    def _faiss(self, queries: Dense, k: int, within: Selection) -> np.ndarray:
        from itemspace.core.extras import require

        faiss = require("faiss", extra="ann", needed_for="the faiss-hnsw arm")
        if "faiss" not in self._made:
            faiss.omp_set_num_threads(1)
            made = faiss.IndexHNSWFlat(self.data.items.space.dimension, 16, faiss.METRIC_INNER_PRODUCT)
            made.hnsw.efConstruction = 128
            made.add(np.ascontiguousarray(self.data.items.values, np.float32))
            self._made["faiss"] = made
        out = np.full((len(queries), k), -1, np.int32)
        assert within.include is not None
        values = np.ascontiguousarray(queries.values, np.float32)
        for i in range(len(queries)):  # its filter is one per call
            mask = np.zeros(within.size, bool)
            mask[within.include[i]] = True
            bits = np.packbits(mask, bitorder="little")
            chosen_ = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            params = faiss.SearchParametersHNSW(efSearch=self.ef, sel=chosen_)
            out[i] = self._made["faiss"].search(values[i : i + 1], k, params=params)[1][0]
        return out

    def asked(self, engine: str, kind: str, k: int, filtered: Attributed, truth: np.ndarray) -> Asked:
        """One engine under the filters of one kind, against exact answers `truth` [q, k]."""
        within = filtered.selection(kind)
        self.search(engine, filtered.queries.take(np.arange(1)), k, within.take(np.arange(1)))
        began = time.process_time()
        rows = self.search(engine, filtered.queries, k, within)
        spent = time.process_time() - began
        compared = self.graph.compared if engine == "acorn" else None
        return Asked(shared(rows, truth, filtered.items, filtered.queries), spent, compared)


def exact_rows(items: Dense, queries: Dense, k: int, within: Selection) -> np.ndarray:
    """The reference: every item scored for every query, then what the filter rejects put last. Inner products."""
    scores = np.asarray(queries.values, np.float32) @ np.asarray(items.values, np.float32).T
    assert within.include is not None
    out = np.full(scores.shape, -np.inf, np.float32)
    group, row = within.include.groups, within.include.values
    out[group, row] = scores[group, row]
    width = min(k, len(items))
    best = np.argsort(-out, axis=1, kind="stable")[:, :width]
    found = np.where(np.take_along_axis(out, best, 1) > -np.inf, best, -1).astype(np.int32)
    return np.pad(found, ((0, 0), (0, k - width)), constant_values=-1)


def shared(rows: np.ndarray, truth: np.ndarray, items: Dense, queries: Dense) -> np.ndarray:
    """The share of the exact answers found, per query [q]; one as good as the last counts, NaN where there is none."""
    exist = (truth >= 0).sum(1)
    values, asked = np.asarray(items.values, np.float32), np.asarray(queries.values, np.float32)
    last = np.take_along_axis(truth, np.maximum(exist - 1, 0)[:, None], 1)[:, 0]
    least = np.einsum("qd,qd->q", values[np.maximum(last, 0)], asked)
    scores = np.einsum("qkd,qd->qk", values[np.maximum(rows, 0)], asked)
    good = ((rows >= 0) & (scores >= least[:, None] - 1e-6)).sum(1)
    return np.where(exist > 0, np.minimum(good, exist) / np.maximum(exist, 1), np.nan)


def _passes(found: np.ndarray, within: Selection) -> np.ndarray:
    group = np.broadcast_to(np.arange(len(found))[:, None], found.shape)
    out = found >= 0
    out[out] = within.allows(group[out], found[out])
    return out


def bench(
    data: Any,
    *,
    seeds: Sequence[int] = (0,),
    arms: Sequence[str] | None = None,
    count: int | None = None,
    model: str | None = None,
    k: int = 10,
) -> Report:
    """Recall and speed of every engine, by kind of filter, relation to the query and selectivity.

    data: a folder of vectors and attributes (`read_attributed`), a dataset or its folder (its words are made vectors of, its
    attributes filters), or `Attributed`. The first seed chooses queries and filters.

    Raises:
        DataError: there is no attribute to filter by.
    """
    given = load(data, count, model, seeds[0])
    engines, names = Engines(given, rng=seeds[0]), chosen(ENGINES, arms)
    found: dict[tuple[str, str, str], Asked] = {}
    truths: dict[tuple[str, str], np.ndarray] = {}
    every: dict[str, Attributed] = {}
    shares: dict[tuple[str, str], np.ndarray] = {}
    missing: list[str] = []
    for relation in RELATIONS:
        filtered = every[relation] = given.with_filters(relation, seeds[0])
        if not filtered.filters:
            raise DataError(f"{given.name} has no category, list or number to filter by.")
        for kind in filtered.filters:
            shares[relation, kind] = filtered.shares(kind)
            truth = truths[relation, kind] = exact_rows(given.items, given.queries, k, filtered.selection(kind))
            for name in names:
                try:
                    found[name, relation, kind] = engines.asked(name, kind, k, filtered, truth)
                except MissingExtraError as error:
                    missing.append(f"{name}: {str(error).splitlines()[0]}")
    swept = [name for name in SWEPT if any(key[0] == name for key in found)]
    lines = [line for name in swept for line in curves(engines, name, every, truths, shares, k)]
    return _report(given, names, found, shares, k, sorted(set(missing)), lines)


def curves(
    engines: Engines,
    engine: str,
    every: Mapping[str, Attributed],
    truths: Mapping[tuple[str, str], np.ndarray],
    shares: Mapping[tuple[str, str], np.ndarray],
    k: int,
) -> Iterator[Curve]:
    """Recall over queries per CPU-second of an engine at every effort, one line per band of selectivity."""
    data, low = engines.data, 0.0
    for edge, band in BANDS:
        at = [(key, int(i)) for key in shares for i in np.flatnonzero((shares[key] >= low) & (shares[key] < edge))]
        low = edge
        at = [at[i] for i in np.linspace(0, len(at) - 1, min(MOST, len(at))).astype(int)]
        if len(at) < 2:
            continue
        queries = data.queries.take(np.array([i for _, i in at]))
        own = {key: every[key[0]].selection(key[1]).include for key in {key for key, _ in at}}
        lists = [include[i] for key, i in at if (include := own[key]) is not None]
        within = Selection(len(data.items), include=Ragged.from_lists(lists))
        truth = np.stack([truths[key][i] for key, i in at])
        speed, recall = [], []
        for ef in EFFORTS:
            engines.aim(ef)
            began = time.process_time()
            rows = engines.search(engine, queries, k, within)
            speed.append(len(queries) / max(time.process_time() - began, 1e-9))
            recall.append(float(np.nanmean(shared(rows, truth, data.items, queries))))
        order = np.argsort(speed)
        name = f"recall@{k}, {band} pass, by queries per CPU-s"
        yield Curve(name, engine, tuple(speed[i] for i in order), tuple(recall[i] for i in order))
    engines.aim(EF)


def load(data: Any, count: int | None, model: str | None, seed: int) -> Attributed:
    """What the bench measures on, from whatever names it."""
    if isinstance(data, Attributed):
        return data
    if isinstance(data, (str, Path)) and (Path(data) / "database_attributes.jsonl").exists():
        found = read_attributed(data, count=count)
        space = VectorSpace(found.items.space.encoder, found.items.space.dimension, "cosine", normalized=True)
        return replace(
            found,
            items=Dense(normalize(found.items.values), space),
            queries=Dense(normalize(found.queries.values), space),
        )
    found_: Attributed = of_dataset(data if isinstance(data, Dataset) else Dataset.read(data), count, model, seed)
    return found_


def of_dataset(
    data: Dataset,
    count: int | None = None,
    model: str | None = None,
    seed: int = 0,
    *,
    columns: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
) -> Any:
    """A dataset's items: their words as vectors (LSA, or a sentence-transformers `model`), some held out as queries.

    columns: the words; by default all there are. seeds: several, for a list of the same items with other queries each.
    """
    catalog = data.catalog
    words = list(columns) or catalog.text_columns()
    if not words:
        raise DataError(f"{data.name} has no column of words to make vectors of.")
    if count is not None and count < len(catalog):
        catalog = catalog.take(np.sort(derive(seed, "fanns").choice(len(catalog), count, replace=False)))
    encoder: Any
    if model is None:
        encoder = LSAEncoder(dimension=DIMENSION).fit(catalog, rng=seed)
    else:
        encoder = SentenceTransformerEncoder(model=model, columns=tuple(words))
    values = normalize(np.asarray(encode_catalog(encoder, catalog).values, np.float32))
    space = VectorSpace(encoder.space.encoder, values.shape[1], "cosine", normalized=True)
    made = [_held_out(data.name, catalog, Dense(values, space), one) for one in seeds or (seed,)]
    return made if seeds is not None else made[0]


def _held_out(name: str, catalog: Catalog, vectors: Dense, seed: int) -> Attributed:
    held = np.sort(derive(seed, "held out").choice(len(catalog), min(QUERIES, len(catalog) // 10), replace=False))
    rest = np.setdiff1d(np.arange(len(catalog)), held)
    return Attributed(name, catalog.take(rest), vectors.take(rest), vectors.take(held))


def _report(
    given: Attributed,
    names: Sequence[str],
    found: Mapping[tuple[str, str, str], Asked],
    shares: Mapping[tuple[str, str], np.ndarray],
    k: int,
    missing: Sequence[str],
    lines: Sequence[Curve],
) -> Report:
    measures: list[Measure] = []

    def add(engine: str, keys: Sequence[tuple[str, str]], cut: str = "all", label: str = "all") -> None:
        asked = [found[(engine, *key)] for key in keys if (engine, *key) in found]
        if not asked:
            return
        recall = np.concatenate([one.recall for one in asked])
        counted = int((~np.isnan(recall)).sum())
        if not counted:
            return
        speed = sum(len(one.recall) for one in asked) / max(sum(one.seconds for one in asked), 1e-9)
        measures.append(Measure(f"recall@{k}", engine, float(np.nanmean(recall)), n=counted, slice=cut, label=label))
        measures.append(Measure("queries per CPU-s", engine, speed, n=counted, slice=cut, label=label))

    every = list(shares)
    for name in names:
        add(name, every)
        for relation in RELATIONS:
            add(name, [key for key in every if key[0] == relation], "the filter is", TOLD[relation])
        for kind in dict.fromkeys(key[1] for key in every):
            add(name, [key for key in every if key[1] == kind], "kind of filter", kind)
        for low, band in zip((0.0, *(edge for edge, _ in BANDS)), BANDS, strict=False):
            parts = [
                found[(name, *key)].recall[(shares[key] >= low) & (shares[key] < band[0])]
                for key in every
                if (name, *key) in found
            ]
            recall = np.concatenate(parts) if parts else np.zeros(0)
            if (~np.isnan(recall)).any():
                measures.append(
                    Measure(
                        f"recall@{k}",
                        name,
                        float(np.nanmean(recall)),
                        n=len(recall),
                        slice="selectivity",
                        label=band[1],
                    )
                )
    return Report(
        f"Filtered search on {given.name}: {len(given.items):,} vectors",
        tuple(measures),
        curves=tuple(lines),
        provenance={
            "data": given.name,
            "items": len(given.items),
            "queries": len(given.queries),
            "ef": EF,
            "filters": {f"{r} {kind}": float(np.mean(s)) for (r, kind), s in shares.items()},
            "left out": list(missing),
            "versions": versions(),
            "hardware": hardware(),
        },
        primary=(f"recall@{k}", "queries per CPU-s"),
    )
