"""Indexes of vectors: recall against queries per second and against bytes, ours beside other packages', one core.

Every index is built over the same vectors and swept over its effort. Its row of the table is the least effort that
reaches the target, or the most it reaches; the curves have every effort. `at equal bytes` compares each of our indexes
with the fastest other one that needs no more memory (a tenth more at most), both at the target recall.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, MissingExtraError
from itemspace.core.report import Curve, Measure, Report
from itemspace.core.requests import Requests
from itemspace.core.seeding import derive
from itemspace.core.vectors import Dense
from itemspace.encode.cache import encode_catalog
from itemspace.encode.lsa import LSAEncoder
from itemspace.encode.sentence_transformer import SentenceTransformerEncoder
from itemspace.evaluate.benches import chosen
from itemspace.evaluate.benches.index_peers import Peer, peers
from itemspace.evaluate.provenance import hardware, versions
from itemspace.index.tuning import Candidate, candidates
from itemspace.index.weighing import Exam, Point, footprint, knob_of, point, with_effort

QUERIES = 500
TARGET = 0.95
ENOUGH = 0.995
"""Efforts above the first that reaches this recall are not tried."""
MORE = 1.1
"""Two indexes within this of each other's memory are of equal size."""
DIMENSION = 128
BATCH, ALONE, BYTES = "queries per CPU-s", "queries alone per CPU-s", "bytes per vector"


@dataclass(frozen=True)
class VectorData:
    """Items and queries of one space, and where they come from."""

    name: str
    items: Dense
    queries: Dense
    about: str = ""


@dataclass(frozen=True)
class Weighed:
    """One index: its points by effort, bytes of memory and on disk, CPU seconds of its build."""

    name: str
    ours: bool
    points: tuple[Point, ...]
    memory: int
    disk: int
    build_s: float

    def at(self, target: float) -> Point:
        """The least effort that reaches the target, else the best there is."""
        enough = [p for p in self.points if p.recall >= target]
        return min(enough, key=lambda p: p.batch_us) if enough else max(self.points, key=lambda p: p.recall)


def bench(
    data: Dataset | VectorData,
    *,
    seeds: Sequence[int] = (0,),
    arms: Sequence[str] | None = None,
    types: Sequence[str] | None = None,
    count: int | None = None,
    model: str | None = None,
    target: float = TARGET,
    k: int = 10,
) -> Report:
    """The table and curves of every index on the vectors of a dataset's items (LSA, or a sentence-transformers `model`).

    arms: only these (ours as `index tune` names them, or other packages'). types: only these of our indexes. count: at
    most so many items. The first seed chooses them, and what is held out as queries where the dataset has none.

    Raises:
        DataError: the items have no words to make vectors of. RequestError: no such arm or index.
    """
    given = data if isinstance(data, VectorData) else vectors_of(data, count, model, seeds[0])
    exam = Exam.of(given.items, given.queries, k)
    ours = {candidate.name: candidate for candidate in candidates(types)}
    others = {peer.name: peer for peer in peers(len(given.items))}
    names = chosen([*ours, *others], arms)
    found, missing = [], []
    for name in names:
        try:
            found.append(_ours(ours[name], exam, seeds[0]) if name in ours else _other(others[name], exam))
        except MissingExtraError as error:
            missing.append(f"{name}: {str(error).splitlines()[0]}")
    return report(given, found, target, k, missing)


def vectors_of(data: Dataset, count: int | None, model: str | None, seed: int) -> VectorData:
    """A dataset's items as vectors, with its queries, or with items held out where it has fewer than 50."""
    catalog = data.catalog
    if not catalog.text_columns():
        raise DataError(f"{data.name} has no column of words to make vectors of.")
    if count is not None and count < len(catalog):
        catalog = catalog.take(np.sort(derive(seed, "items").choice(len(catalog), count, replace=False)))
    encoder: Any = LSAEncoder(dimension=DIMENSION).fit(catalog, rng=seed) if model is None else None
    encoder = encoder or SentenceTransformerEncoder(model=model)
    items = encode_catalog(encoder, catalog)
    if not isinstance(items, Dense):
        raise DataError(f"{model} does not make one vector per item.")
    texts = [] if data.queries is None else sorted({text for text in data.queries.texts if text.strip()})
    if len(texts) >= 50:
        few = derive(seed, "queries").choice(len(texts), min(QUERIES, len(texts)), replace=False)
        queries = encoder.encode(Requests.texts([texts[i] for i in np.sort(few)]), role="query")
        return VectorData(data.name, items, queries, f"{len(queries):,} of its queries")
    return held_out(data.name, items, seed)


def held_out(name: str, items: Dense, seed: int) -> VectorData:
    """Items of which some are the queries."""
    few = np.sort(derive(seed, "held out").choice(len(items), min(QUERIES, len(items) // 10), replace=False))
    rest = np.setdiff1d(np.arange(len(items)), few)
    queries = Dense(np.asarray(items.values[few], np.float32), items.space)
    return VectorData(name, items.take(rest), queries, f"{len(few):,} items held out")


def _ours(candidate: Candidate, exam: Exam, seed: int) -> Weighed:
    with tempfile.TemporaryDirectory(prefix="itemspace-bench-") as home:
        folder = Path(home)
        began = time.process_time()
        built = candidate.make().build([exam.items], rng=seed)
        spent = time.process_time() - began
        built.save(folder)
        index = type(built).open(folder)
        foot = footprint(folder, index, exam.queries.take(np.array([0])), exam.k)
        knob, values = knob_of(index)
        points: list[Point] = []
        for setting in [{knob: value} for value in values] or [{}]:
            points.append(point(with_effort(index, **setting), exam, setting))
            if points[-1].recall >= ENOUGH:
                break
    return Weighed(candidate.name, True, tuple(points), foot.memory, foot.disk, spent)


def _other(peer: Peer, exam: Exam) -> Weighed:
    began = time.process_time()
    peer.build(exam.items)
    spent = time.process_time() - began
    size, points = peer.size(), []
    for effort in peer.efforts or (0,):
        peer.effort = effort
        points.append(point(peer, exam, {"effort": effort} if effort else {}))
        if points[-1].recall >= ENOUGH:
            break
    return Weighed(peer.name, False, tuple(points), size, size, spent)


def report(given: VectorData, found: Sequence[Weighed], target: float, k: int, missing: Sequence[str] = ()) -> Report:
    """Measures per index at the target recall, curves of all its efforts, and what equal bytes and recall say."""
    n, name = len(given.items), f"recall@{k}"
    measures: list[Measure] = []
    curves: list[Curve] = []
    for one in found:
        at = one.at(target)
        values: Mapping[str, float] = {
            name: at.recall,
            BATCH: 1e6 / max(at.batch_us, 1e-3),
            ALONE: 1e6 / max(at.one_us, 1e-3),
            BYTES: one.memory / n,
            "bytes per vector on disk": one.disk / n,
            "build CPU s": one.build_s,
        }
        measures += [Measure(metric, one.name, float(value), n=len(given.queries)) for metric, value in values.items()]
        line = sorted(one.points, key=lambda p: -p.batch_us)
        speed = tuple(1e6 / max(p.batch_us, 1e-3) for p in line)
        curves.append(Curve(f"{name} by {BATCH}", one.name, speed, tuple(p.recall for p in line)))
        best = max(p.recall for p in one.points)
        curves.append(Curve(f"{name} by {BYTES}", one.name, (one.memory / n,), (best,)))
    raw = given.items.values.itemsize * given.items.space.dimension
    return Report(
        f"Indexes of {n:,} vectors of {given.name}",
        tuple(measures),
        curves=tuple(curves),
        notes=tuple(equal_bytes(found, target)),
        provenance={
            "data": given.name,
            "items": n,
            "queries": given.about,
            "dimension": given.items.space.dimension,
            "metric": given.items.space.metric,
            "raw bytes per vector": raw,
            "target": f"{name} of {target:g}: the row of an index is its least effort that reaches it, or its best",
            "memory": "files of the index without the record of vectors where a query reads little of it; others': their file",
            "time": "CPU seconds of one thread",
            "left out": list(missing),
            "versions": {**versions(), **_installed()},
            "hardware": hardware(),
        },
        primary=(name, BATCH, ALONE, BYTES),
    )


def equal_bytes(found: Sequence[Weighed], target: float) -> list[str]:
    """For each of our indexes that reaches the target: the fastest other one of no more memory, and the ratio."""
    out = []
    for mine in (one for one in found if one.ours):
        at = mine.at(target)
        if at.recall < target:
            out.append(f"{mine.name} reaches recall {at.recall:.3f}, below {target:g}.")
            continue
        rivals = [
            one
            for one in found
            if not one.ours and one.memory <= MORE * mine.memory and one.at(target).recall >= target
        ]
        if not rivals:
            out.append(f"at equal bytes, no other index reaches {target:g} beside {mine.name}.")
            continue
        best = min(rivals, key=lambda one: one.at(target).batch_us)
        ratio = best.at(target).batch_us / at.batch_us
        out.append(
            f"at equal bytes, {mine.name} answers {ratio:.2f} times the queries of {best.name}, both at {target:g}."
        )
    return out


def _installed() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    out = {}
    for name in ("faiss-cpu", "hnswlib", "usearch"):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out
