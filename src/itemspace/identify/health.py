"""Are these codes any good? What can be told without training a generator, as a `Report`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itemspace.core.codes import Codes
from itemspace.core.report import Measure, Report
from itemspace.core.seeding import RNG, derive
from itemspace.core.vectors import Dense, Sparse, normalize
from itemspace.identify.code_rows import PAD, equal_rows, padded

COLLAPSED = 0.2
"""A level whose perplexity is below this share of its symbols is said to be collapsed."""


@dataclass(frozen=True)
class Evidence:
    """What codes are held against; every part may be left out. Rows are the items' (`codes.item` points into them).

    vectors: what the codes were made from. behavior: `Dense` vectors or `Sparse` affinities by the items. categories: int
    [n], -1 unknown. decoded: what the codes stand for, one `Dense` vector per item (`Quantizer.decode`).
    """

    vectors: Dense | None = None
    behavior: Dense | Sparse | None = None
    categories: np.ndarray | None = None
    decoded: Dense | None = None


def health(
    codes: Codes,
    evidence: Evidence = Evidence(),
    *,
    name: str = "codes",
    k: int = 10,
    sample: int = 2_000,
    rng: RNG = 0,
    title: str = "Health of semantic IDs",
) -> Report:
    """Usage, collisions, and agreement with what is known of the items.

    Per level, its number behind the metric's name: `usage` (share of symbols that occur), `entropy` (bits), `perplexity` (2 to the entropy; of the level's size).
    Per prefix length: `prefixes` (how many), `gini` (FORGE: inequality of items per prefix in use, 0 even), and against
    evidence `purity` (share of items of their prefix's commonest category), `source-agreement` and `behavior-agreement`
    (share of an item's `k` nearest that have its prefix), each beside what a random order of the codes would give
    (`...-by-chance`). Over all: `collisions` (share of codes that stand for a further item), `largest-group`,
    `embedding-hit-rate` (FORGE: share of an item's behavioral neighbors that are among the `k` nearest of what the codes
    stand for).

    Neighbors are of `sample` items; their shares have 95% intervals.
    Source: Fu et al. 2025 (FORGE), section 5 (Gini, embedding hit-rate).
    """
    matrix, draw = padded(codes), derive(rng, "health")
    measures = [*_whole(codes, matrix, name)]
    for level in range(matrix.shape[1]):
        measures += _level(matrix[:, level], codes.level_sizes[level], level, name)
        measures += _prefix(matrix, level, name)
    single = _one_each(codes, matrix)
    if evidence.categories is not None:
        measures += _purity(single, evidence.categories, name, draw)
    for metric, known in (("source", evidence.vectors), ("behavior", evidence.behavior)):
        if known is not None:
            measures += _agreement(f"{metric}-agreement", single, known, name, k, sample, draw)
    if evidence.decoded is not None and evidence.behavior is not None:
        measures.append(_hit_rate(evidence.decoded, evidence.behavior, name, k, sample, draw))
    facts: dict[str, Any] = {
        "items": len(np.unique(codes.item)),
        "codes": len(codes),
        "levels": list(codes.level_sizes),
        "version": codes.version,
    }
    return Report(title, tuple(measures), notes=_notes(measures, codes), provenance=facts, primary=("collisions",))


def gini(counts: np.ndarray) -> float:
    """How unequal counts [m] are: 0 where all are equal, towards 1 where one has everything."""
    counts = np.sort(np.asarray(counts, np.float64))
    total, n = counts.sum(), len(counts)
    if n == 0 or total == 0:
        return 0.0
    return float((n + 1) / n - 2 * ((n - np.arange(n)) * counts).sum() / (n * total))


def _whole(codes: Codes, matrix: np.ndarray, name: str) -> list[Measure]:
    groups = np.bincount(_owners(codes, matrix)) if len(codes) else np.zeros(1, np.int64)
    n = len(codes)
    return [
        Measure("collisions", name, codes.collisions / max(n, 1), n=n),
        Measure("largest-group", name, float(groups.max()), n=n),
    ]


def _owners(codes: Codes, matrix: np.ndarray) -> np.ndarray:
    """The code of every distinct (code, item), so that an item with one code twice counts once."""
    group = equal_rows(matrix)
    pairs = np.unique(np.stack([group, codes.item.astype(np.int64)]), axis=1)
    return np.asarray(pairs[0])


def _level(symbols: np.ndarray, size: int, level: int, name: str) -> list[Measure]:
    there = symbols[symbols != PAD]
    counts = np.bincount(there, minlength=size)
    share = counts[counts > 0] / max(len(there), 1)
    bits = float(-(share * np.log2(share)).sum())
    label = str(level + 1)
    told = {"usage": float((counts > 0).mean()), "entropy": bits, "perplexity": 2.0**bits, "symbols": float(size)}
    return [Measure(f"{metric}-{label}", name, value, n=len(there)) for metric, value in told.items()]


def _prefix(matrix: np.ndarray, level: int, name: str) -> list[Measure]:
    counts = np.bincount(equal_rows(matrix[:, : level + 1])) if len(matrix) else np.zeros(0, np.int64)
    label = str(level + 1)
    told = {"prefixes": float(len(counts)), "gini": gini(counts)}
    return [Measure(f"{metric}-{label}", name, value, n=len(matrix)) for metric, value in told.items()]


def _one_each(codes: Codes, matrix: np.ndarray) -> np.ndarray:
    """The first code of every row up to the largest: int64 [rows, levels]; rows without a code hold PAD."""
    out = np.full((int(codes.item.max(initial=-1)) + 1, matrix.shape[1]), PAD, np.int64)
    rows, first = np.unique(codes.item, return_index=True)
    out[rows] = matrix[first]
    return out


def _depths(single: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(prefix length, prefix of every row, rows that have one so long) for every length but the complete code's."""
    found = []
    for depth in range(1, max(single.shape[1], 2)):
        there = single[:, depth - 1] != PAD
        found.append((depth, equal_rows(single[:, :depth]), there))
    return found


def _purity(single: np.ndarray, categories: np.ndarray, name: str, rng: np.random.Generator) -> list[Measure]:
    known = np.asarray(categories)[: len(single)] >= 0
    out = []
    for depth, prefix, there in _depths(single):
        rows = np.flatnonzero(there & known[: len(single)])
        if len(rows) == 0:
            continue
        label = np.asarray(categories)[rows].astype(np.int64)
        for metric, of in (("purity", prefix[rows]), ("purity-by-chance", rng.permutation(prefix[rows]))):
            share = _commonest(of, label) / len(rows)
            out.append(Measure(f"{metric}-{depth}", name, share, n=len(rows)))
    return out


def _commonest(group: np.ndarray, label: np.ndarray) -> int:
    """How many items are of the commonest label of their group."""
    pair, counts = np.unique(group * (int(label.max()) + 1) + label, return_counts=True)
    most = np.zeros(int(group.max()) + 1, np.int64)
    np.maximum.at(most, pair // (int(label.max()) + 1), counts)
    return int(most.sum())


def _agreement(
    metric: str, single: np.ndarray, known: Dense | Sparse, name: str, k: int, sample: int, rng: np.random.Generator
) -> list[Measure]:
    rows, near = neighbors(known, k, sample, rng, upto=len(single))
    out = []
    for depth, prefix, there in _depths(single):
        asked = there[rows] & (near >= 0).any(1)
        if not asked.any():
            continue
        mixed = rng.permutation(prefix)
        for told, of in ((metric, prefix), (f"{metric}-by-chance", mixed)):
            same = (of[np.maximum(near[asked], 0)] == of[rows[asked]][:, None]) & (near[asked] >= 0)
            share = same.sum(1) / np.maximum((near[asked] >= 0).sum(1), 1)
            out.append(_mean(f"{told}-{depth}", name, share))
    return out


def _hit_rate(
    decoded: Dense, behavior: Dense | Sparse, name: str, k: int, sample: int, rng: np.random.Generator
) -> Measure:
    n = min(len(decoded), len(behavior))
    rows, wanted = neighbors(behavior, k, sample, rng, upto=n)
    _, found = _nearest_rows(normalize(np.asarray(decoded.values[:n])), rows, k)
    hits = ((wanted[:, :, None] == found[:, None, :]) & (wanted >= 0)[:, :, None]).any(2).sum(1)
    there = (wanted >= 0).sum(1)
    return _mean(f"embedding-hit-rate@{k}", name, hits[there > 0] / there[there > 0])


def neighbors(
    known: Dense | Sparse, k: int, sample: int, rng: np.random.Generator, *, upto: int
) -> tuple[np.ndarray, np.ndarray]:
    """The `k` nearest of `sample` rows among the first `upto`: rows [m] and neighbors int64 [m, k], -1 where fewer.

    Rows of zeros (items without behavior) neither ask nor answer.
    """
    if isinstance(known, Sparse):
        matrix = known.values[:upto][:, : min(upto, known.values.shape[1])]
        rows = _some(np.flatnonzero(np.diff(matrix.indptr) > 0), sample, rng)
        part = matrix[rows].tocsr()
        return rows, _top_of_rows(part, k)
    values = normalize(np.asarray(known.values[:upto]))
    there = values.any(1)
    rows = _some(np.flatnonzero(there), sample, rng)
    values[~there] = np.nan  # never among the nearest
    return _nearest_rows(values, rows, k)


def _nearest_rows(values: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    k = min(k, max(len(values) - 1, 1))
    out = np.full((len(rows), k), -1, np.int64)
    for start in range(0, len(rows), 256):
        part = rows[start : start + 256]
        scores = values[part] @ values.T
        scores[np.arange(len(part)), part] = -np.inf
        scores = np.where(np.isnan(scores), -np.inf, scores)
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        real = np.isfinite(np.take_along_axis(scores, best, 1))
        out[start : start + 256] = np.where(real, best, -1)
    return rows, out


def _top_of_rows(matrix: Any, k: int) -> np.ndarray:
    """The columns of the `k` largest entries of every CSR row, -1 where there are fewer."""
    lengths = np.diff(matrix.indptr)
    row = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((matrix.indices, -matrix.data, row))
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    out = np.full((len(lengths), k), -1, np.int64)
    keep = place < k
    out[row[order][keep], place[keep]] = matrix.indices[order][keep]
    return out


def _some(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def _mean(metric: str, name: str, values: np.ndarray) -> Measure:
    n = len(values)
    if n == 0:
        return Measure(metric, name, math.nan)
    mean, off = float(values.mean()), 1.96 * float(values.std()) / math.sqrt(n)
    return Measure(metric, name, mean, max(mean - off, 0.0), min(mean + off, 1.0), n)


def _notes(measures: Sequence[Measure], codes: Codes) -> tuple[str, ...]:
    """What a reader should see to first."""
    notes = []
    if codes.collisions:
        notes.append(f"{codes.collisions:,} of {len(codes):,} codes stand for more than one item.")
    found = {m.metric: m for m in measures}
    for level, size in enumerate(codes.level_sizes[: max(len(codes.level_sizes) - 1, 1)], 1):
        m = found[f"perplexity-{level}"]
        if m.value < COLLAPSED * min(size, m.n):
            notes.append(f"level {level} is collapsed: {m.value:.1f} of {size:,} symbols are in use by weight.")
    return tuple(notes)


def as_categories(values: Sequence[Any]) -> np.ndarray:
    """Category numbers int64 [n] of anything that can be told apart; None is unknown (-1)."""
    names = {name: number for number, name in enumerate(dict.fromkeys(v for v in values if v is not None))}
    return np.array([-1 if v is None else names[v] for v in values], np.int64)
