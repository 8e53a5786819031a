"""Neighbors kept against dimensions kept: MPAD beside principal components, truncation and random projection.

    python benchmarks/reduction.py             # three sets of real embeddings, three seeds; some ten minutes on one core
    python benchmarks/reduction.py --quick     # 1,500 vectors of each, one seed; publishes nothing

Every method learns from the same vectors; the k nearest neighbors of 1,000 of them before and after are compared, by
the metric of the space. MPAD's two settings (the percent of pairs, the penalty) are chosen on vectors that are not
reported on; principal components are given their own choice (centered or not, whitened or not) on the same ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import harness
import numpy as np
from vectors import real

from itemspace.adapt.adapter import Adapter
from itemspace.adapt.mpad import MPAD
from itemspace.adapt.pca import PCA
from itemspace.adapt.random_projection import RandomProjection
from itemspace.adapt.truncation import Truncation
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.data.read import read
from itemspace.encode.lsa import LSAEncoder
from itemspace.evaluate.embeddings.neighbors import nearest, overlap, sampled
from itemspace.recommend.bpr_mf import BPRMF

K = 10
DIMENSIONS = (4, 8, 16, 32, 64)
MPAD_CHOICES = [{"closest": b, "orthogonality": a} for b in (20.0, 50.0, 80.0, 100.0) for a in (1.0, 10.0)]
PCA_CHOICES = [{"center": c, "whiten": w} for c in (True, False) for w in (True, False)]
CHOOSE_AT = 16


def main() -> None:
    options = _options()
    size, seeds = (1_500, (0,)) if options.quick else (8_000, (0, 1, 2))
    folder = harness.workspace("reduction", f"{size}-{len(seeds)}")
    everything: dict[str, dict[str, Any]] = {}
    for name, vectors in sets(size).items():
        path = folder / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps(measured(name, vectors, seeds)))
        everything[name] = json.loads(path.read_text())
    result = report(everything, size, seeds)
    if not options.quick:
        result.publish()


def sets(size: int) -> dict[str, Dense]:
    """Words by a transformer, words by their co-occurrence, and behavior: three kinds of real embeddings."""
    data = harness.data_folder()
    items, _ = real()
    chosen = items[sampled(len(items), size, 0, "minilm")]
    beauty = read(data / "amazon-beauty")
    lsa = LSAEncoder(dimension=128).fit(beauty.catalog)
    words = lsa.encode(beauty.catalog, role="item")
    factors = BPRMF(embedding_size=64, epochs=15)
    factors.fit(read(data / "movielens-1m-coldstart"))
    behavior = np.asarray(factors._items, np.float32)
    return {
        "MiniLM, all item texts": Dense(chosen, VectorSpace("minilm", chosen.shape[1], "cosine", normalized=True)),
        "LSA, Beauty": words.take(sampled(len(words), size, 0, "lsa")),
        "BPR factors, MovieLens-1M": Dense(behavior, VectorSpace("bpr", behavior.shape[1], "cosine")).take(
            sampled(len(behavior), size, 0, "bpr")
        ),
    }


def kept(adapter: Adapter, vectors: Dense, truth: np.ndarray, asked: np.ndarray, seed: int) -> float:
    return float(overlap(truth, nearest(adapter.fit(vectors, rng=seed).adapt(vectors), K, asked)).mean())


def chosen(kind: type[Adapter], choices: list[dict[str, Any]], vectors: Dense) -> dict[str, Any]:
    """The settings that keep most on vectors set aside for choosing."""
    asked = sampled(len(vectors), 500, 1, "choosing")
    truth = nearest(vectors, K, asked)
    scores = [kept(kind(dimension=CHOOSE_AT, **some), vectors, truth, asked, 0) for some in choices]
    return choices[int(np.argmax(scores))]


def measured(name: str, vectors: Dense, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Neighbors kept by method, dimension and seed; a third of the vectors chooses the settings and is not reported on."""
    order = np.random.default_rng(7).permutation(len(vectors))
    aside, rest = (vectors.take(np.sort(part)) for part in np.split(order, [len(order) // 3]))
    best = {"MPAD": chosen(MPAD, MPAD_CHOICES, aside), "principal components": chosen(PCA, PCA_CHOICES, aside)}
    methods: Mapping[str, tuple[type[Adapter], dict[str, Any]]] = {
        "MPAD": (MPAD, best["MPAD"]),
        "principal components": (PCA, best["principal components"]),
        "principal components as they come": (PCA, {}),
        "random projection": (RandomProjection, {}),
        "truncation": (Truncation, {}),
        "random dimensions": (Truncation, {"random": True}),
    }
    out: dict[str, Any] = {"chosen": best, "n": len(rest), "d": vectors.space.dimension, "kept": {}, "seconds": {}}
    dimensions = [m for m in DIMENSIONS if m < vectors.space.dimension]
    for method, (kind, settings) in methods.items():
        by_dimension: dict[int, list[float]] = {}
        began = time.process_time()
        for m in dimensions:
            by_dimension[m] = []
            for seed in seeds:
                asked = sampled(len(rest), 1_000, seed, "asked")
                truth = nearest(rest, K, asked)
                by_dimension[m].append(kept(kind(dimension=m, **settings), rest, truth, asked, seed))
        out["seconds"][method] = (time.process_time() - began) / len(seeds) / len(dimensions)
        out["kept"][method] = by_dimension
        shown = "  ".join(f"{m}: {np.mean(v):.3f}" for m, v in by_dimension.items())
        print(f"  {name}, {method}: {shown}", file=sys.stderr, flush=True)
    fitted = MPAD(dimension=min(32, vectors.space.dimension), **best["MPAD"]).fit(rest)
    axes = fitted._fitted().axes.astype(np.float64)
    out["orthogonality"] = float(np.abs(axes.T @ axes - np.eye(axes.shape[1])).max())
    out["least step"] = float(min(min(np.diff(a.objective), default=0.0) for a in fitted.ascents))
    return out


def report(everything: dict[str, dict[str, Any]], size: int, seeds: tuple[int, ...]) -> harness.Result:
    result = harness.Result(
        "reduction",
        "Fewer dimensions: neighbors kept",
        80,
        "python benchmarks/reduction.py",
        f"Up to {size:,} vectors a set, a third of them only to choose settings at {CHOOSE_AT} dimensions; {K} nearest "
        f"neighbors of 1,000, exact, by cosine; seeds {', '.join(map(str, seeds))}; mean over seeds.",
        {},
    )
    for name, found in everything.items():
        dimensions = list(found["kept"]["MPAD"])
        rows = [
            [method, *(float(np.mean(found["kept"][method][m])) for m in dimensions), found["seconds"][method]]
            for method in found["kept"]
        ]
        told = "; ".join(f"{method}: {settings}" for method, settings in found["chosen"].items())
        result.table(
            f"{name}: share of the {K} nearest kept ({found['n']:,} vectors of {found['d']} dimensions)",
            ["method", *(f"{m} dimensions" for m in dimensions), "CPU-s to learn and check one"],
            rows,
            f"Chosen: {told}. MPAD's axes: largest inner product of two {found['orthogonality']:.3g}.",
        )
        result.at_most(f"{name}: largest inner product of two MPAD axes", found["orthogonality"], 0.1)
        result.at_least(f"{name}: least gain of an MPAD step (its objective never falls)", found["least step"], 0.0)
        for other in ("random projection", "truncation", "principal components"):
            gains = [float(np.mean(np.subtract(found["kept"]["MPAD"][m], found["kept"][other][m]))) for m in dimensions]
            result.at_least(f"{name}: MPAD over {other}, mean over dimensions", float(np.mean(gains)), 0.0)
        result.chart(
            f"{name}: neighbors kept",
            "dimensions",
            "share kept",
            {
                method: [(float(m), float(np.mean(found["kept"][method][m]))) for m in dimensions]
                for method in found["kept"]
            },
        )
    result.notes.append(
        "UMAP and the like give coordinates to look at, not a map for new vectors, and are no arm here."
    )
    return result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
