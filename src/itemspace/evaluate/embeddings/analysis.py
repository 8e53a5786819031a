"""One report on the vectors of the same items by several encoders."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from itemspace.adapt.adapter import Adapter
from itemspace.adapt.pca import PCA
from itemspace.adapt.random_projection import RandomProjection
from itemspace.adapt.truncation import Truncation
from itemspace.core.errors import RequestError
from itemspace.core.report import Curve, Grid, Measure, Report
from itemspace.core.vectors import Dense
from itemspace.evaluate.embeddings.hubness import Hubness
from itemspace.evaluate.embeddings.intrinsic import levina_bickel, neighbor_distances, two_nn
from itemspace.evaluate.embeddings.isotropy import isotropies
from itemspace.evaluate.embeddings.neighbors import jaccard, nearest, sampled
from itemspace.evaluate.embeddings.retention import retention
from itemspace.evaluate.embeddings.similarity import families, linear_cka, rank_similarity
from itemspace.evaluate.embeddings.spectrum import Spectrum
from itemspace.evaluate.embeddings.thresholds import interval

PRIMARY = (
    "effective rank",
    "intrinsic dimension (TwoNN)",
    "isoscore",
    "mean cosine",
    "hub skewness",
    "shared neighbors",
)
METHODS: dict[str, tuple[type[Adapter], Mapping[str, object]]] = {
    "principal components": (PCA, {}),
    "the first ones": (Truncation, {}),
    "random projection": (RandomProjection, {}),
}
_DEPTHS = (1, 2, 5, 10, 20, 50)
_NEAR = 20


@dataclass(frozen=True)
class Settings:
    """items: at most so many are analyzed. questions: of them ask for neighbors. k: neighbors asked for."""

    items: int = 20_000
    questions: int = 1_000
    k: int = 10
    seed: int = 0


def analyze(
    named: Mapping[str, Dense],
    settings: Settings = Settings(),
    *,
    title: str = "What the embeddings are like",
    say: Callable[[str], object] = lambda _: None,
) -> Report:
    """Spectrum, dimension, isotropy, hubs and dispensable dimensions of each; agreement of every two.

    named: encoder -> the vectors of the same items in the same order.

    Raises:
        RequestError: no vectors, not the same number everywhere, or too few.
    """
    sizes = {len(vectors) for vectors in named.values()}
    if len(sizes) != 1:
        told = ", ".join(f"{name} {len(vectors):,}" for name, vectors in named.items()) or "none"
        raise RequestError(f"an analysis needs the vectors of the same items by every encoder; there are {told}.")
    total = sizes.pop()
    if total <= _DEPTHS[-1]:
        raise RequestError(f"an analysis needs more than {_DEPTHS[-1]} items; there are {total}.")
    rows = sampled(total, settings.items, settings.seed, "analysis")
    some = {name: vectors.take(rows) for name, vectors in named.items()}
    asked = sampled(len(rows), settings.questions, settings.seed, "questions")
    found = {name: _One.of(name, vectors, asked, settings, say) for name, vectors in some.items()}
    grids, shared, curves, order = _together(some, found, settings.k, say)
    lead = (
        f"{len(rows):,} items by {len(named)} encoder{'s' if len(named) != 1 else ''}. "
        + "; ".join(
            f"{n} uses about {one.spectrum.effective_rank:.0f} of {v.space.dimension} directions"
            for (n, one), v in zip(found.items(), some.values(), strict=True)
        )
        + "."
    )
    return Report(
        title,
        measures=tuple(m for one in found.values() for m in one.measures) + shared,
        curves=tuple(c for one in found.values() for c in one.curves) + curves,
        notes=(*_NOTES, *order),
        provenance={
            "items": len(rows), "of": total, "questions": len(asked), "k": settings.k, "seed": settings.seed,
            "encoders": {name: v.space.to_json() for name, v in some.items()},
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        },
        primary=PRIMARY,
        grids=grids,
        lead=lead,
    )  # fmt: skip


_NOTES = (
    "effective rank: exp of the entropy of the variances along principal axes (Roy and Vetterli 2007). TwoNN: from the ratio of "
    "the second to the first neighbor's distance (Facco et al. 2017). isoscore: 1 when every direction varies alike (Rudman et "
    "al. 2022). hub skewness: 0 when everybody is somebody's neighbor equally often. neighbors kept: of the k nearest, after dropping dimensions.",
    "None of these says which encoder answers better: that is what `itemspace evaluate` measures.",
)


@dataclass(frozen=True)
class _One:
    """What one encoder's vectors are like. neighbors: int64 [a, deepest] of the asked rows."""

    spectrum: Spectrum
    neighbors: np.ndarray
    measures: tuple[Measure, ...]
    curves: tuple[Curve, ...]

    @classmethod
    def of(cls, name: str, vectors: Dense, asked: np.ndarray, settings: Settings, say: Callable[[str], object]) -> _One:
        say(f"{name}: spectrum and isotropy")
        values = np.asarray(vectors.values, np.float32)
        spectrum, n, d = Spectrum.of(values), len(values), values.shape[1]
        say(f"{name}: neighbors of {len(asked):,} items")
        near = nearest(vectors, _DEPTHS[-1], asked)
        distances = neighbor_distances(vectors, min(_NEAR, n - 1), asked)
        hubs = Hubness.of(near[:, : settings.k], n)
        numbers = {
            "effective rank": spectrum.effective_rank,
            "participation ratio": spectrum.participation,
            "components for 90%": spectrum.components(0.9),
            "intrinsic dimension (TwoNN)": two_nn(distances),
            "intrinsic dimension (ML)": levina_bickel(distances),
            **isotropies(values, spectrum),
            "hub skewness": hubs.skewness,
            "largest hub": hubs.largest,
            "orphans": hubs.orphans,
        }
        say(f"{name}: neighbors kept with fewer dimensions")
        dimensions = tuple(m for m in (2, 4, 8, 16, 32, 64, 128, 256, 512) if m < d)
        left = retention(vectors, dimensions, METHODS, k=settings.k, questions=len(asked), rng=settings.seed)
        shares = spectrum.cumulative
        at = np.unique(np.round(np.geomspace(1, d, 24)).astype(int))
        curves = [Curve("share of variance", name, tuple(map(float, at)), tuple(shares[at - 1].tolist()), "components")]
        measures = [Measure(metric, name, float(value), n=n) for metric, value in numbers.items()]
        for method in METHODS:
            curves.append(
                Curve(
                    f"neighbors kept, {method}",
                    name,
                    tuple(map(float, dimensions)),
                    tuple(left.mean(method).tolist()),
                    "dimensions kept",
                )
            )
            measures += [
                Measure(
                    "neighbors kept",
                    name,
                    *interval(left.kept[method][i], seed=settings.seed),
                    n=len(asked),
                    slice=method,
                    label=f"{m} dimensions",
                )
                for i, m in enumerate(dimensions)
            ]
        return cls(spectrum, near, tuple(measures), tuple(curves))


def _together(
    some: Mapping[str, Dense], found: Mapping[str, _One], k: int, say: Callable[[str], object]
) -> tuple[tuple[Grid, ...], tuple[Measure, ...], tuple[Curve, ...], tuple[str, ...]]:
    """Agreement of every two encoders."""
    names = tuple(some)
    if len(names) < 2:
        return (), (), (), ()
    say(f"agreement of {len(names)} encoders")
    alike, shared, ranked = (np.eye(len(names)) for _ in range(3))
    curves = []
    for i, a in enumerate(names):
        for j in range(i + 1, len(names)):
            b = names[j]
            alike[i, j] = alike[j, i] = linear_cka(some[a].values, some[b].values)
            left, right = found[a].neighbors, found[b].neighbors
            shared[i, j] = shared[j, i] = jaccard(left[:, :k], right[:, :k]).mean()
            ranked[i, j] = ranked[j, i] = rank_similarity(left[:, :k], right[:, :k]).mean()
            by_depth = tuple(float(jaccard(left[:, :m], right[:, :m]).mean()) for m in _DEPTHS)
            curves.append(
                Curve("shared neighbors (Jaccard)", f"{a} / {b}", tuple(map(float, _DEPTHS)), by_depth, "neighbors")
            )
    grids = tuple(
        Grid(title, names, names, tuple(map(tuple, table.tolist())))
        for title, table in (
            ("Agreement as wholes (linear CKA)", alike),
            (f"Shared neighbors (Jaccard at {k})", shared),
            (f"Shared neighbors in the same order, at {k}", ranked),
        )
    )
    measures = tuple(
        Measure("shared neighbors", name, float((shared[i].sum() - 1) / (len(names) - 1)), n=len(found[name].neighbors))
        for i, name in enumerate(names)
    )
    merged = " then ".join(f"({', '.join(group)})" for group in families(alike, names))
    order = (f"By CKA the encoders join in this order: {merged}.",) if len(names) > 2 else ()
    return grids, measures, tuple(curves), order


def common(named: Mapping[str, tuple[Sequence[str], Dense]]) -> tuple[list[str], dict[str, Dense]]:
    """Vectors of the items that all encoders know, in one order: (external IDs, encoder -> vectors).

    named: encoder -> (external IDs, vectors).

    Raises:
        RequestError: there is no such item.
    """
    known = [set(ids) for ids, _ in named.values()]
    shared = sorted(set.intersection(*known)) if known else []
    if not shared:
        raise RequestError(f"no item has vectors by all of {', '.join(named) or 'no encoder'}.")
    out = {}
    for name, (ids, vectors) in named.items():
        where = {item: i for i, item in enumerate(ids)}
        out[name] = vectors.take(np.array([where[item] for item in shared]))
    return shared, out
