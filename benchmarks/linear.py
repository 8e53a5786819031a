"""Counting and linear models from 10^4 to 10^6 items: fitting, memory, answering, accuracy; and how long evaluation takes.

    python benchmarks/linear.py                 all sizes (about 35 min on two cores); parts that were measured are kept
    python benchmarks/linear.py --quick         10^4 items and no dense EASE on published data (about 2 min)
    python benchmarks/linear.py --again         forget what was measured

The log is generated: items in clusters of 100, Zipf within a cluster and among clusters; a user has two tastes and comes in
sessions of about four events of one taste; one event in five is of no taste; one in six follows from the event before it.
Ten events per item. The last event of some users is held out; what it is out of all items is to be found.

Every fit runs in a process of its own, so that its peak memory is its own. `implicit` (item-kNN) is measured where it can
be imported: pip install --target DIR implicit, and --implicit DIR.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pyarrow as pa
from scipy import sparse

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.ids import Ids
from itemspace.core.interactions import Interactions
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.evaluate import evaluate
from itemspace.recommend import EASE, Counting, ItemKNN, Popularity, base, links
from itemspace.recommend.base import ScoringRecommender
from itemspace.recommend.links import user_item_matrix
from itemspace.recommend.popularity import PopularityConfig

SIZES, QUICK = (10_000, 100_000, 1_000_000), (10_000,)
CLUSTER, EVENTS_PER_ITEM, BATCH, SINGLES, HELD_OUT = 100, 10, 1_000, 200, 5_000
THREADS = 2
MEMORY_GB = 6.0
ARMS: dict[str, Callable[[], ScoringRecommender]] = {
    "popularity": Popularity,
    "counting": Counting,
    "item-kNN": ItemKNN,
    "EASE, sparse": lambda: EASE(solver="sparse"),
    "EASE, dense": lambda: EASE(solver="dense"),
}
DENSE_UP_TO = 20_000
PEER, NUMPY_EASE = "item-kNN of implicit", "EASE in plain NumPy"


# The log


def make_log(items: int, seed: int = 0) -> dict[str, np.ndarray]:
    """user, item int32 [events] by user and time, and the held-out users with their last item."""
    rng = np.random.default_rng([seed, items])
    users, clusters = items, items // CLUSTER
    lengths = 2 + rng.geometric(1 / (EVENTS_PER_ITEM - 1), users)
    user = np.repeat(np.arange(users, dtype=np.int32), lengths)
    events = len(user)
    inside = np.cumsum(1 / np.arange(1, CLUSTER + 1))
    among = np.cumsum(1 / (np.arange(clusters) + 10.0) ** 0.8)
    tastes = np.searchsorted(among, rng.random((users, 2)) * among[-1])
    place = np.arange(events) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    session = place // 4
    cluster = tastes[user, np.where(rng.random((users, 64)) < 0.6, 0, 1)[user, session % 64]]
    stray = rng.random(events) < 0.2
    cluster[stray] = np.searchsorted(among, rng.random(int(stray.sum())) * among[-1])
    rank = np.searchsorted(inside, rng.random(events) * inside[-1])
    # An odd event of a session may be the successor of the even one before it.
    follows = np.flatnonzero((place % 2 == 1) & (rng.random(events) < 1 / 3))
    cluster[follows], rank[follows] = cluster[follows - 1], (rank[follows - 1] + 1) % CLUSTER
    names = rng.permutation(items).astype(np.int32)
    item = names[cluster * CLUSTER + rank]
    last = np.cumsum(lengths) - 1
    held = np.sort(rng.choice(users, min(HELD_OUT, users // 2), replace=False))
    keep = np.ones(events, bool)
    keep[last[held]] = False
    return {"user": user[keep], "item": item[keep], "held": held.astype(np.int32), "target": item[last[held]]}


def load(items: int) -> tuple[Dataset, Requests, np.ndarray]:
    """The generated log as a dataset, requests with the histories of the held-out users, and their next items."""
    path = harness.workspace("linear") / f"log-{items}.npz"
    if not path.exists():
        np.savez(path, **make_log(items))
    log = np.load(path)
    catalog = Catalog.from_table(pa.table({"item_id": [f"i{i}" for i in range(items)]}))
    users = Ids([f"u{i}" for i in range(items)], kind="user")
    events = Interactions(log["user"], log["item"], users, catalog.ids)
    counts = np.bincount(log["user"], minlength=items)
    histories = Ragged(log["item"], np.concatenate(([0], np.cumsum(counts)))).take(log["held"])
    return Dataset(catalog, events), Requests.histories(histories).excluding_history(), log["target"]


# One arm, in a process of its own


def one(arm: str, items: int) -> dict[str, Any]:
    """Fit one arm on the log of one size, and answer: seconds, memory, microseconds per request, recall."""
    data, requests, targets = load(items)
    before = harness.peak_mb()
    fit, answer = arm_of(arm, data)
    wall, cpu = harness.timed(fit)
    peak = harness.peak_mb()
    rng = np.random.default_rng(1)
    chosen = rng.choice(len(targets), BATCH, replace=False)
    batch = requests.take(chosen)
    singles = [requests.take(np.array([i])) for i in chosen[:SINGLES].tolist()]
    answer(batch.take(np.arange(20)))
    alone = np.median([harness.timed(lambda: [answer(r) for r in singles])[0] / SINGLES for _ in range(5)])
    together = np.median([harness.timed(lambda: answer(batch))[0] / BATCH for _ in range(5)])
    rows = np.concatenate([answer(requests.take(at)) for at in np.array_split(np.arange(len(targets)), 10)])
    assert data.interactions is not None
    return {
        "arm": arm,
        "items": items,
        "events": len(data.interactions),
        "fit": wall,
        "fit_cpu": cpu,
        "peak_mb": peak,
        "before_mb": before,
        "alone_us": alone * 1e6,
        "together_us": together * 1e6,
        "recall": float((rows == targets[:, None]).any(1).mean()),
    }


Answer = Callable[[Requests], np.ndarray]


def arm_of(arm: str, data: Dataset) -> tuple[Callable[[], object], Answer]:
    """How to fit an arm, and how to get its ten best rows [q, 10] for requests with a history."""
    if arm in (PEER, NUMPY_EASE):
        return (implicit_arm if arm == PEER else numpy_ease)(data)
    model = ARMS[arm]()
    return lambda: model.fit(data), lambda requests: model.search(requests, 10).rows


def implicit_arm(data: Dataset) -> tuple[Callable[[], object], Answer]:
    """implicit's item-kNN with our number of neighbors, its own parallel loops, what a user has filtered."""
    from implicit.nearest_neighbours import CosineRecommender

    assert data.interactions is not None
    events, n = data.interactions, len(data.catalog)
    model = CosineRecommender(K=ItemKNN().config.neighbors, num_threads=THREADS)

    def fit() -> None:
        model.fit(user_item_matrix(events), show_progress=False)

    def answer(requests: Requests) -> np.ndarray:
        assert requests.history is not None
        items = requests.history.items
        asked = sparse.csr_matrix(
            (np.ones(len(items.values), np.float32), items.values, items.offsets), (len(items), n)
        )
        asked.sum_duplicates()
        return np.asarray(model.recommend(np.arange(len(items)), asked, N=10, filter_already_liked_items=True)[0])

    return fit, answer


def numpy_ease(data: Dataset) -> tuple[Callable[[], object], Answer]:
    """EASE as its paper's few lines: a dense inverse, dense scores, argpartition."""
    assert data.interactions is not None
    events, n = data.interactions, len(data.catalog)
    learned: dict[str, np.ndarray] = {}

    def fit() -> None:
        matrix = user_item_matrix(events)
        gram = np.asarray((matrix.T @ matrix).todense(), np.float32)
        gram[np.diag_indices(n)] += 100.0
        inverse = np.linalg.inv(gram)
        learned["weights"] = inverse / -np.diag(inverse)
        learned["weights"][np.diag_indices(n)] = 0

    def answer(requests: Requests) -> np.ndarray:
        assert requests.history is not None
        items = requests.history.items
        asked = sparse.csr_matrix(
            (np.ones(len(items.values), np.float32), items.values, items.offsets), (len(items), n)
        )
        scores = asked @ learned["weights"]
        scores[items.groups, items.values] = -np.inf
        best = np.argpartition(-scores, 10, axis=1)[:, :10]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1)
        return np.take_along_axis(best, order, 1)

    return fit, answer


def measured(arm: str, items: int, again: bool, implicit: Path) -> dict[str, Any]:
    """`one` in a subprocess, kept between runs."""
    kept = harness.workspace("linear") / f"{arm.replace(' ', '-')}-{items}.json"
    if again or not kept.exists():
        print(f"{arm}, {items:,} items", file=sys.stderr, flush=True)
        command = [sys.executable, __file__, "--one", arm, "--items", str(items), "--implicit", str(implicit)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{arm} at {items:,} items failed:\n{done.stderr[-2000:]}")
        kept.write_text(done.stdout.strip().splitlines()[-1])
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


# Published data


def quality(again: bool) -> list[list[Any]]:
    """Recall@10 of dense and sparse EASE on published sets; the sparse support is chosen on validation. Kept."""
    from recommend import leave_one_out_of, measure

    rows = []
    for name in ("beauty", "sports"):
        kept = harness.workspace("linear") / f"quality-{name}.json"
        if again or not kept.exists():
            split = leave_one_out_of(harness.data_folder(), name)
            found = {}
            for label, settings in [
                ("dense", {"solver": "dense"}),
                *((f"sparse, support {m}", {"solver": "sparse", "support": m}) for m in (50, 100, 200)),
            ]:
                model = EASE(recency_decay=0.65, **settings)
                wall, cpu = harness.timed(partial(model.fit, split.train))
                valid, test = measure(model, split.valid), measure(model, split.test)
                found[label] = [wall, cpu, valid["recall@10"], valid["ndcg@10"], test["recall@10"], test["ndcg@10"]]
                print(f"  {name} {label}: {found[label]}", file=sys.stderr, flush=True)
            kept.write_text(json.dumps(found))
        rows += [[name, label, *values] for label, values in json.loads(kept.read_text()).items()]
    return rows


class DotProduct(ScoringRecommender):
    """What a trained sequence model costs to answer with after its encoder: one vector per request, one per item."""

    config: PopularityConfig

    def fit(self, dataset: Any, **_: Any) -> Any:
        self._begin(dataset)
        self.vectors = np.random.default_rng(0).normal(size=(self.num_items, 64)).astype(np.float32)
        self.spent = 0.0

    def score_block(self, requests: Requests, histories: Ragged) -> np.ndarray:
        began = time.perf_counter()
        scores = self.vectors[histories.values[histories.offsets[1:] - 1]] @ self.vectors.T
        self.spent += time.perf_counter() - began
        return np.asarray(scores)

    def _arrays(self) -> dict[str, Any]:
        return {"vectors": self.vectors}

    def _restore(self, arrays: dict[str, Any]) -> None:
        self.vectors = arrays["vectors"]


def evaluation(result: harness.Result, name: str) -> None:
    """One pass of `evaluate` over a published test split, every request over the whole catalogue."""
    from recommend import leave_one_out_of

    split = leave_one_out_of(harness.data_folder(), name)
    models = {"popularity": Popularity(), "counting": Counting(), "item-kNN": ItemKNN()}
    models |= {"EASE, sparse": EASE(solver="sparse"), "dot product of 64": DotProduct()}
    for model in models.values():
        model.fit(split.train)
    dot = models["dot product of 64"]
    product: dict[str, list[float]] = {}
    assert isinstance(dot, DotProduct)

    def timed_links(*given: Any) -> Any:
        began = time.perf_counter()
        found = links.linked(*given)
        dot.spent += time.perf_counter() - began
        return found

    base.linked = timed_links  # what sparse models multiply with, so that its time can be told apart

    def run(label: str, metrics: tuple[str, ...]) -> None:
        dot.spent = 0.0
        evaluate(models[label], split.test, metrics)
        product.setdefault(f"{label} @{metrics[-1]}", []).append(dot.spent)

    deep = ("ndcg@10", "recall@10", "recall@100")
    arms = {
        f"{label} @{metrics[-1]}": (lambda label=label, metrics=metrics: run(label, metrics))
        for label in models
        for metrics in (("ndcg@10", "recall@10"), deep)
    }
    times = harness.interleaved(arms, note=f"evaluate {name}")
    rows = []
    for arm, time_taken in times.items():
        scoring = float(np.median(product[arm][1:]))
        label, depth = arm.split(" @")
        rows.append([label, 10 if depth == "recall@10" else 100, time_taken.seconds, time_taken.cpu_seconds, scoring])
    base.linked = links.linked
    result.table(
        f"One evaluation pass, {name} ({len(split.test):,} requests x {len(split.train.catalog):,} items)",
        ["model", "k", "seconds", "CPU s", "of which product s"],
        rows,
        "through `itemspace.evaluate`: search, exclusions, checks, nDCG and recall",
    )
    result.at_most(
        "evaluation pass on Beauty without the model's product, k 10, s",
        max(r[2] - r[4] for r in rows if r[1] == 10),
        1,
    )
    result.at_most(
        "evaluation pass on Beauty without the model's product, k 100, s",
        max(r[2] - r[4] for r in rows if r[1] == 100),
        1,
    )


def race(result: harness.Result, items: int) -> None:
    """Item-kNN and implicit's in one process, taking turns."""
    data, requests, _ = load(items)
    batch = requests.take(np.arange(BATCH))
    singles = [requests.take(np.array([i])) for i in range(SINGLES)]
    arms = {"ours": arm_of("item-kNN", data), "implicit": arm_of(PEER, data)}
    fits = harness.interleaved({name: fit for name, (fit, _) in arms.items()}, warm=0, note=f"fit {items:,}")
    many = harness.interleaved(
        {name: (lambda a=a: a(batch)) for name, (_, a) in arms.items()}, note=f"{BATCH} requests"
    )
    alone = harness.interleaved(
        {name: (lambda a=a: [a(r) for r in singles]) for name, (_, a) in arms.items()}, note="one by one"
    )
    rows = []
    for label, times, work in (
        ("fit, s", fits, 1),
        ("batch of 1,000, us/request", many, BATCH),
        ("one by one, us/request", alone, SINGLES),
    ):
        unit = 1 if work == 1 else 1e6
        ratio = harness.ratio(times["implicit"], times["ours"])
        rows.append([label, times["ours"].per(work) * unit, times["implicit"].per(work) * unit, ratio])
    result.table(
        f"Item-kNN beside implicit, {items:,} items, 500 neighbors each, {THREADS} threads",
        ["what", "ours", "implicit", "implicit / ours"],
        rows,
        "in one process, taking turns; implicit adds no shrinkage and no recency",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--again", action="store_true", help="measure again what was kept")
    parser.add_argument(
        "--implicit", type=Path, default=harness.workspace("implicit"), help="where implicit is installed"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--items", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.append(str(arguments.implicit))
    with harness.threads(THREADS):
        if arguments.one:
            print(json.dumps(one(arguments.one, arguments.items)))
            return
        publish(arguments)


def publish(arguments: argparse.Namespace) -> None:
    peer = _has_implicit()
    result = harness.Result(
        name="linear-quick" if arguments.quick else "linear",
        title="Counting and linear models",
        order=60,
        command="python benchmarks/linear.py",
        about=f"Generated log (seed 0), {EVENTS_PER_ITEM} events per item; {THREADS} threads; batch of {BATCH:,} and single "
        f"requests, k 10, the history excluded; recall@10 of {HELD_OUT:,} held-out next events over all items.",
        peers=harness.versions("numpy", "scipy") | ({"implicit": peer} if peer else {}),
    )
    sizes = QUICK if arguments.quick else SIZES
    found = []
    for items in sizes:
        arms = [arm for arm in ARMS if arm != "EASE, dense" or items <= DENSE_UP_TO]
        arms += [NUMPY_EASE] if items <= DENSE_UP_TO else []
        arms += [PEER] if peer else []
        found += [measured(arm, items, arguments.again, arguments.implicit) for arm in arms]
    keys = ("arm", "items", "fit", "fit_cpu", "peak_mb", "before_mb", "together_us", "alone_us", "recall")
    columns = [
        "model",
        "items",
        "fit s",
        "fit CPU s",
        "peak MB",
        "MB before",
        "us/request of 1,000",
        "us alone",
        "recall@10",
    ]
    result.table("Cost and accuracy by size", columns, [[r[k] for k in keys] for r in found])
    if peer:
        race(result, 10_000 if arguments.quick else 100_000)
    evaluation(result, "beauty")
    verdicts(result, {(r["arm"], r["items"]): r for r in found}, arguments.quick)
    if not arguments.quick:
        rows = quality(arguments.again)
        columns = ["set", "solver", "fit s", "fit CPU s", "valid R@10", "valid N@10", "test R@10", "test N@10"]
        result.table(
            "EASE: sparse beside dense", columns, rows, "lambda 100, recency decay .65; support chosen on validation"
        )
        for name in ("beauty", "sports"):
            mine = [r for r in rows if r[0] == name]
            chosen = max(mine[1:], key=lambda r: r[5])
            result.at_least(f"{name}: test R@10 of sparse EASE / dense", chosen[6] / mine[0][6], 0.98)
    ours = [arm for arm in ARMS if any(r["arm"] == arm and len(sizes) > 1 for r in found)]
    for what, key in (
        ("fit seconds", "fit"),
        ("microseconds per request, batch", "together_us"),
        ("peak MB", "peak_mb"),
    ):
        result.chart(what, "items", what, {a: [(r["items"], r[key]) for r in found if r["arm"] == a] for a in ours})
    result.publish()


def verdicts(result: harness.Result, found: dict[tuple[str, int], dict[str, Any]], quick: bool) -> None:
    """Bounds on memory and on how the cost of a request grows."""
    if quick:
        return
    large, middle = SIZES[-1], SIZES[-2]
    for arm in ("counting", "item-kNN", "EASE, sparse"):
        top = found[arm, large]
        size = f"{large:,} items"
        result.at_most(f"{arm}, {size}: peak memory, GB", top["peak_mb"] / 1024, MEMORY_GB)
        per = top["peak_mb"] * 2**20 / (top["items"] + top["events"])
        result.at_most(f"{arm}, {size}: peak bytes per event and item", per, 1_000)
        for key, label in (("together_us", "batch"), ("alone_us", "alone")):
            growth = top[key] / found[arm, middle][key]
            result.at_most(f"{arm}: cost per request ({label}), {large:,} / {middle:,} items", growth, 3)


def _has_implicit() -> str | None:
    try:
        import implicit
    except ImportError:
        return None
    return str(implicit.__version__)


if __name__ == "__main__":
    main()
