"""What a shop's page asks besides answers: suggestions per keystroke, searches under rules, the map of the items.

    python benchmarks/shopfront.py             # 100,000 titles, a shop of 100,000 items, the titles of Amazon Beauty
    python benchmarks/shopfront.py --quick     # a small run of everything, nothing published

Suggestions: product names of retrotech, filled up to the size by the front half of one and the back half of another.
The Space of the rules part is built once and kept in the benchmarks' workspace.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from harness import Result, data_folder, threads, versions, workspace
from lexical import product_names

import itemspace as its
from itemspace.adapt import layout, neighbors_kept
from itemspace.core.plugins import find
from itemspace.data.worlds.shop import demo_shop
from itemspace.search import Rules
from itemspace.search.autocomplete import Entries, Suggester
from itemspace.space import parts

SEED = 0
LETTERS = (1, 2, 3, 4, 6, 10, 20)
LIMIT_MS = 2.0
QUERIES = ("boots", "red tent", "waterproof jacket", "lamp", "hiking boots brown", "kettle", "rope", "blue mug")


def spent(calls: Sequence[Callable[[], object]]) -> np.ndarray:
    """CPU milliseconds of each call: what other processes do to the clock does not count."""
    taken = []
    for call in calls:
        began = time.thread_time()
        call()
        taken.append(1e3 * (time.thread_time() - began))
    return np.array(taken)


def suggestions(result: Result, size: int, typed_each: int) -> None:
    rng = np.random.default_rng(SEED)
    names = list(product_names())[:size]
    halves = [name.split() for name in names]
    left, right = rng.integers(0, len(names), (2, max(0, size - len(names))))
    names += [
        " ".join(halves[a][: len(halves[a]) // 2] + halves[b][len(halves[b]) // 2 :])
        for a, b in zip(left.tolist(), right.tolist(), strict=True)
    ]
    weights = (1.0 / np.arange(1, size + 1) ** 0.7).astype(np.float32)
    rng.shuffle(weights)
    rows = np.arange(size)
    empty = pa.array([], pa.large_string())
    entries = Entries(pa.array(names, pa.large_string()), rows, weights, rows.astype(np.uint32), empty, np.zeros(0))
    began = time.process_time()
    suggester = Suggester.build(entries)
    built = time.process_time() - began
    alive = rng.random(size) > 0.01
    table, worst = [], []
    for kind in ("as spelt", "one letter wrong"):
        for letters in LETTERS:
            if kind != "as spelt" and letters < 4:
                continue
            typed = [typed_from(names[i], letters, rng) for i in rng.integers(0, size, typed_each).tolist()]
            if kind != "as spelt":
                typed = [text[:2] + "q" + text[3:] for text in typed]
            taken = spent([lambda t=t: suggester.find(t, 8, lambda r: alive[np.maximum(r, 0)]) for t in typed])
            table.append((kind, letters, np.median(taken), np.quantile(taken, 0.99), taken.max()))
            worst.append(np.quantile(taken, 0.99))
    result.table(
        f"Suggestions among {size:,} titles",
        ("spelling", "letters typed", "p50 ms", "p99 ms", "most ms"),
        table,
        note=f"{typed_each} prefixes each, half of them from the middle of a title; CPU time of one thread. Built in "
        f"{built:.2f} s; {suggester.nbytes / 1e6:.1f} MB mapped for {sum(map(len, names)) / 1e6:.1f} million letters.",
    )
    result.at_most(f"p99 of a prefix among {size:,} titles, the slowest kind of prefix, ms", max(worst), LIMIT_MS)


def typed_from(title: str, letters: int, rng: np.random.Generator) -> str:
    """The beginning of a title, or of its second half."""
    words = title.split()
    return (title if rng.random() < 0.5 else " ".join(words[len(words) // 2 :]))[:letters]


def rules(result: Result, items: int, searches: int) -> None:
    home = workspace("shopfront", f"shop-{items}") / "shop.space"
    if not (home / "CURRENT").exists():
        its.Space.build(demo_shop(items, max(300, items // 20), rng=SEED), path=home, say=print, replace=False).close()
    table = []
    with its.Space.open(home) as space:
        pins = space.catalog.ids.decode(np.arange(3))
        given = {
            "none": None,
            "3 pins, 2 exclusions": Rules.parse(pinning(pins)),
            "2 boosts, 2 buries": Rules.parse(boosting()),
            "all of them": Rules.parse([*pinning(pins), *boosting()]),
        }
        asked = [QUERIES[i % len(QUERIES)] for i in range(searches)]
        for name, some in given.items():
            first = spent([lambda r=some: space.search("boots", rules=r)])[0]
            taken = spent([lambda q=q, r=some: space.search(q, rules=r) for q in asked])
            table.append((name, first, np.median(taken), np.quantile(taken, 0.99)))
        plain, full = table[0][2], table[-1][2]
    result.table(
        f"Hybrid searches of {items:,} items under rules",
        ("rules", "first ms", "p50 ms", "p99 ms"),
        table,
        note="k = 10, one query at a time, CPU time of one thread. The first search under rules compiles their filters.",
    )
    result.at_most("all rules against none, times the median of a search", full / plain, 2.0)


def pinning(pins: Sequence[str | None]) -> list[dict[str, object]]:
    return [
        {"name": "pins", "action": "pin", "items": list(pins), "positions": [1, 4, 7]},
        {"name": "sold out", "action": "exclude", "where": "not in_stock"},
        {"name": "dear", "action": "exclude", "where": "price > 200"},
    ]


def boosting() -> list[dict[str, object]]:
    return [
        {"name": "cheap", "action": "boost", "where": "price < 30", "factor": 1.3},
        {"name": "well rated", "action": "boost", "where": "rating >= 4.5", "factor": 1.2},
        {"name": "badly rated", "action": "bury", "where": "rating < 2.5", "factor": 0.7},
        {"name": "no rating", "action": "bury", "where": "rating is null", "factor": 0.9},
    ]


def item_map(result: Result, items: int) -> None:
    data = its.Dataset.read("amazon-beauty", root=data_folder())
    catalog = parts.readable(data.catalog, ["title"])
    vectors = find("encoders", "lsa")().fit(catalog, rng=SEED).encode(catalog, role="item").values[:items]
    table = []
    for method in ("pca", "neighbors"):
        began = time.process_time()
        made = layout(vectors, method=method, rng=SEED, say=lambda step: print(f"  {step}", file=sys.stderr))
        seconds = time.process_time() - began
        table.append((method, neighbors_kept(vectors, made.points, k=10, rng=SEED), seconds))
    placed = layout(vectors, landmarks=len(vectors) // 4, rng=SEED)
    table.append(("neighbors, a quarter as landmarks", neighbors_kept(vectors, placed.points, k=10, rng=SEED), np.nan))
    result.table(
        f"The map of {len(vectors):,} titles of Amazon Beauty",
        ("laid out by", "10 nearest neighbors kept", "CPU seconds"),
        table,
        note="Vectors by LSA (256). The share of the ten most alike that are also among the ten nearest points, over 1,000 items.",
    )
    result.at_least("neighbors kept, by neighbors against by components, times", table[1][1] / table[0][1], 5.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    size = 5_000 if quick else 100_000
    result = Result(
        "shopfront",
        "Suggestions, rules and the map",
        70,
        "python benchmarks/shopfront.py",
        f"{size:,} titles and items; seed {SEED}; one thread; CPU time of the calling thread.",
        versions("numpy", "pyarrow", "openTSNE"),
    )
    with threads(1):
        suggestions(result, size, 50 if quick else 400)
        rules(result, 2_000 if quick else size, 40 if quick else 400)
        item_map(result, 1_500 if quick else 20_000)
    for table in result.tables:
        print(table["title"], *table["rows"], table["note"], sep="\n  ")
    if not quick:
        result.publish()


if __name__ == "__main__":
    main()
