"""Resources for Brewing BEIR: reference retrievers, stored runs and a leaderboard that checks them (Kamalloo et al., 2024).

Their dense and sparse models are transformers trained on MS MARCO; here the dense one is latent semantic analysis and the
sparse one learned term weights with expansion, both learned from each collection's own texts. The protocol is theirs:
zero-shot, no arm sees a query or a judgment before it is asked.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.config import Config
from itemspace.core.contracts import Retriever
from itemspace.core.dataset import Dataset
from itemspace.core.errors import MissingExtraError
from itemspace.core.extras import require
from itemspace.core.hits import Hits
from itemspace.core.judgments import Judgments, Queries
from itemspace.core.seeding import derive
from itemspace.core.task import Task
from itemspace.data.readers.beir import plain_ids, write_beir
from itemspace.data.readers.trec import read_run
from itemspace.data.splits.queries import split_queries
from itemspace.data.worlds.topics import topics
from itemspace.encode.impacts import ImpactConfig
from itemspace.encode.lsa import LSAConfig
from itemspace.evaluate.bench import Bench, System
from itemspace.evaluate.benches.beir import answers
from itemspace.evaluate.benches.references import References, word_columns
from itemspace.evaluate.claims import Claim
from itemspace.evaluate.leaderboard import METRICS, evaluate_run, store_run
from itemspace.evaluate.run_checks import validate_run

ARMS = ("bm25-flat", "bm25-multifield", "lsa", "impacts")
COMPANIONS = ("judged-ndcg@10", "bpref")
REAL: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "cranfield": ("cranfield", ("title", "text")),
    "cisi": ("cisi", ("title", "text")),
    "limit": ("limit/limit-small", ()),
    "metatool": ("tools-metatool", ("title", "description")),
}
"""What stands for BEIR's datasets, which are not among the data here: name -> folder and columns."""
WORLD: Mapping[str, Any] = {"lists": 10, "bridge": 0.15, "mix": (0, 1, 0)}
DEPTH = 100
MOST = 500
"""Queries of a collection that are asked, at most, per seed."""
SIZE = {True: (400, 150), False: (800, 300)}
LATENT = LSAConfig(words=1, characters=(), dimension=64)
"""In the worlds: coined words share syllables that mean nothing, so words are counted whole."""


class BeirConfig(Config):
    """arm: which reference. seed: of what learns."""

    arm: str = "impacts"
    impacts: ImpactConfig = ImpactConfig()
    seed: int = 0


def build(data: Dataset, config: BeirConfig = BeirConfig()) -> Retriever:
    """One of the reference retrievers over the dataset's words, ready to search."""
    columns = word_columns(data.catalog)
    return References(data.catalog, columns, rng=config.seed, impacts=config.impacts)[config.arm]


def check(bench: Bench) -> None:
    """Every arm's run file on every collection, scored from the file; a seed is a half of the queries and a training."""
    made: dict[str, References] = {}
    with tempfile.TemporaryDirectory(prefix="itemspace-beir-") as aside:
        for seed in bench.seeds:
            folders = _folders(bench, seed, Path(aside))
            values: dict[str, list[Mapping[str, float]]] = {arm: [] for arm in ARMS}
            facts: dict[str, list[float]] = {}
            for folder, original in folders:
                data = Dataset.read(folder, reader="beir")
                facts.setdefault("folder-equal", []).append(same_data(data, original))
                kept = made.setdefault(f"{data.name} {data.catalog.fingerprint}", _references(bench, data, seed))
                _measure(bench, data, seed, kept, Path(aside) / f"runs-{seed}" / data.name, values, facts)
            for arm, each in values.items():
                bench.record(arm, {name: float(np.mean([one[name] for one in each])) for name in each[0]})
            worst = {name: (max if "difference" in name else min)(found) for name, found in facts.items()}
            bench.record("system", worst)
    if bench.place == "real":
        bench.note(
            "BEIR's own collections are not among the data here. Cranfield, CISI, LIMIT-small and MetaTool stand in, "
            "written as BEIR folders and read back; a value is the mean over the four, each counting once."
        )
        bench.note(
            "A seed is a random half of each collection's queries (500 at most) and a training of the sparse model; nothing is "
            "tuned on either half. BM25 has Anserini's k1 0.9 and b 0.4 and stems; the learned sparse model reads unstemmed words. The defaults of latent "
            "semantic analysis were once chosen on half of Cranfield's and CISI's queries."
        )


def _folders(bench: Bench, seed: int, aside: Path) -> list[tuple[Path, Dataset]]:
    """BEIR folders to measure on, each with the dataset it was written from."""
    if bench.place != "real":
        world = topics(*SIZE[bench.quick], randomness=bench.randomness, rng=seed, **WORLD).data
        return [_written(world, aside / f"world-{seed}", ())]
    assert bench.data is not None
    found = []
    for name, (folder, columns) in REAL.items():
        original = Dataset.read(folder, root=bench.data)
        _, half = split_queries(original, 0.5, seed)
        some = half.take(derive(seed, "beir", name).permutation(len(half))[:MOST])
        found.append(_written(_asked(original, some), aside / f"{seed}" / name, columns))
    return found


def _asked(data: Dataset, half: Task) -> Dataset:
    """The dataset with only a task's queries, numbered."""
    names = {f"q{n}": text for n, text in enumerate(half.requests.text or ())}
    return Dataset(data.catalog, queries=Queries.of(names), judgments=half.judgments, name=data.name)


def _written(data: Dataset, folder: Path, columns: tuple[str, ...]) -> tuple[Path, Dataset]:
    write_beir(data, folder, columns=columns)
    return folder, data


def same_data(read: Dataset, original: Dataset) -> float:
    """The share of what a BEIR folder carries that came back: documents, queries, judged pairs with their grades."""
    assert read.queries is not None
    assert original.queries is not None
    same = [len(read.catalog) == len(original.catalog), read.queries.texts == original.queries.texts]
    pairs = [
        _pairs(data.judgments, names)
        for data, names in (
            (read, read.catalog.ids.values.to_pylist()),
            (original, plain_ids(original.catalog.ids, "d")),
        )
        if data.judgments is not None
    ]
    return float(np.mean([*same, len(pairs) == 2 and pairs[0] == pairs[1]]))


def _pairs(judgments: Judgments, names: list[str]) -> list[tuple[int, str, float]]:
    """What was judged, items by the names they were written under."""
    items = [names[row] for row in judgments.items.values.tolist()]
    return sorted(zip(judgments.items.groups.tolist(), items, judgments.grades.tolist(), strict=True))


def _references(bench: Bench, data: Dataset, seed: int) -> References:
    latent = LSAConfig() if bench.place == "real" else LATENT
    return References(data.catalog, word_columns(data.catalog), rng=seed, latent=latent)


def _measure(
    bench: Bench,
    data: Dataset,
    seed: int,
    kept: References,
    folder: Path,
    values: Mapping[str, list[Mapping[str, float]]],
    facts: dict[str, list[float]],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    bench.used(data, queries=0 if data.queries is None else len(data.queries))
    own = _references(bench, data, seed)  # what is trained by seed; the rest is the same for every half of the queries
    for arm in ARMS:
        began = time.perf_counter()
        hits = answers((own if arm == "impacts" else kept)[arm].search, data, DEPTH)
        bench.spend(arm, seconds=time.perf_counter() - began)
        path = folder / f"{arm}.run"
        store_run(path, hits, data, tag=arm)
        found = evaluate_run(path, data, METRICS, name=arm)
        values[arm].append({name: found[name] for name in found.metrics})
        facts.setdefault("runs-equal", []).append(_came_back(path, hits, data))
        difference = trec_eval_difference(path, data)
        if difference is not None:
            facts.setdefault("trec-eval-difference", []).append(difference)
        facts.setdefault("intact-taken", []).append(float(validate_run(path, data).sound))
    if "damage-named" not in facts:  # once a seed: how a line is damaged does not depend on the collection
        named = [_named(folder / "bm25-flat.run", data, damage, line) for damage, line in DAMAGES]
        facts["damage-named"] = [float(np.mean(named))]


def _came_back(path: Path, hits: Hits, data: Dataset) -> float:
    """The share of (query, document, score) triples of an answer that its run file gives back."""
    assert data.queries is not None
    wrote, read = _triples(hits), _triples(read_run(path, data.queries, data.catalog.ids))
    return len(wrote & read) / max(len(wrote | read), 1)


def _triples(hits: Hits) -> set[tuple[int, int, float]]:
    query, place = np.nonzero(hits.rows >= 0)
    rows, scores = hits.rows[query, place], hits.scores[query, place]
    return set(zip(query.tolist(), rows.tolist(), scores.tolist(), strict=True))


def trec_eval_difference(path: Path, data: Dataset) -> float | None:
    """The largest difference to trec_eval over queries and metrics; None where ir-measures is not installed."""
    try:
        measures = require("ir_measures", extra="dev", needed_for="comparing with trec_eval")
    except MissingExtraError:
        return None
    assert data.queries is not None
    assert data.judgments is not None
    judged = data.judgments
    queries, items = data.queries.ids, [str(name) for name in data.catalog.ids.decode(judged.items.values)]
    grades = [int(grade) for grade in judged.grades.tolist()]
    groups = [str(name) for name in queries.decode(judged.items.groups)]
    qrels = [measures.Qrel(q, i, g) for q, i, g in zip(groups, items, grades, strict=True)]
    run = list(measures.read_trec_run(str(path)))
    ours = evaluate_run(path, data, METRICS)
    names = [queries[int(row)] for row in np.flatnonzero(np.diff(judged.items.offsets) > 0)]
    theirs: dict[tuple[str, str], float] = {}
    pairs = {"ndcg@10": measures.nDCG @ 10, "recall@100": measures.R @ 100}
    for found in measures.iter_calc(list(pairs.values()), qrels, run):
        theirs[str(found.measure), found.query_id] = found.value
    worst = 0.0
    for metric, measure in pairs.items():
        mine = ours.per_query(metric)
        other = np.array([theirs.get((str(measure), name), 0.0) for name in names])
        worst = max(worst, float(np.abs(mine.values - other)[~mine.skipped].max(initial=0.0)))
    return worst


def _named(path: Path, data: Dataset, damage: Callable[[list[str]], list[str]], line: int) -> float:
    """Whether a damaged copy of a run is refused with the damaged line named."""
    damaged = path.with_name("damaged.run")
    damaged.write_text("\n".join(damage(path.read_text(encoding="utf-8").split("\n"))), encoding="utf-8")
    return float(any(problem.line == line for problem in validate_run(damaged, data).problems))


def _changed(line: int, place: int, value: str) -> Callable[[list[str]], list[str]]:
    def damage(lines: list[str]) -> list[str]:
        fields = lines[line - 1].split(" ")
        fields[place] = value
        return [*lines[: line - 1], " ".join(fields), *lines[line:]]

    return damage


DAMAGES: tuple[tuple[Callable[[list[str]], list[str]], int], ...] = (
    (_changed(2, 0, "nobody-asked-this"), 2),
    (_changed(2, 2, "no-such-document"), 2),
    (_changed(2, 3, "second"), 2),
    (_changed(2, 4, "nan"), 2),
    (_changed(2, 4, "1e9"), 2),
    (_changed(2, 5, "another-tag"), 2),
    (_changed(2, 5, "a tag"), 2),
    (lambda lines: [lines[0], lines[0], *lines[1:]], 2),
    (lambda lines: [lines[0], lines[1].rsplit(" ", 1)[0], *lines[2:]], 2),
)
"""Ways to spoil a run, and the line at fault: query, document, rank, score, order, tag, format, repetition."""


SYSTEM = System(
    title="Resources for Brewing BEIR: Reproducible Reference Models and an Official Leaderboard",
    slug="beir_resources",
    year=2024,
    family="benchmarks",
    build=build,
    check=check,
    real="cranfield, cisi, limit, metatool",
    claims=(
        Claim("corpus, queries and qrels folders are read whole", "folder-equal", at_least=1.0),
        Claim("nDCG@10 and Recall@100 of a run equal trec_eval's", "trec-eval-difference", at_most=1e-9),
        Claim("runs are stored in TREC's format and come back as they were", "runs-equal", at_least=1.0),
        Claim("the leaderboard takes every intact run", "intact-taken", at_least=1.0),
        Claim("the leaderboard refuses every damaged run and names the line", "damage-named", at_least=1.0),
        Claim(
            "the learned sparse reference ranks better than BM25 in one field",
            "ndcg@10", over="bm25-flat", arm="impacts", by=0.01, agree=COMPANIONS,
        ),
        Claim(
            "the dense reference ranks better than BM25 in one field",
            "ndcg@10", over="bm25-flat", arm="lsa", by=0.01, agree=COMPANIONS,
        ),
    ),
)  # fmt: skip
