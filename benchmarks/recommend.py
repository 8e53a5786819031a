"""Next-item recommendation on published Amazon files: every arm on one split, one protocol, one table.

    python benchmarks/recommend.py --data DIR --dataset beauty --arms popularity,counting --seeds 0,1,2 --out results.json

Protocol: leave-one-out in file order (last item = test, the one before = validation; the test history includes the
validation item), the full catalogue ranked, items of the history excluded, ties broken by a hash of the ID. Item rows are
a seeded permutation: the integer IDs of these files are minted in user order and leak. Settings were chosen on validation
only and are recorded with every result. A result that exists (same dataset, arm, seed and settings) is not made again;
an interrupted training continues from its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Recommender
from itemspace.core.dataset import Dataset
from itemspace.core.interactions import Interactions
from itemspace.core.judgments import Judgments
from itemspace.core.plugins import find
from itemspace.core.requests import Requests
from itemspace.core.task import Task

FILES = {
    "beauty": "amazon-beauty/Beauty.txt",
    "sports": "amazon-sports/Sports_and_Outdoors.txt",
    "scientific": "amazon-scientific/Scientific.inter.json",
}
ARMS: dict[str, dict[str, Any]] = {
    "popularity": {"part": "popularity"},
    "counting": {"part": "counting"},
    "item-knn": {"part": "item-knn"},
    "ease": {"part": "ease"},
    "bpr-mf": {"part": "bpr-mf", "seeded": True},
    "sasrec-ce": {"part": "sasrec", "seeded": True, "config": {"loss": "softmax"}},
    "sasrec-bce": {"part": "sasrec", "seeded": True, "config": {"loss": "binary"}},
}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {}
"""Per dataset and arm, what validation preferred to the defaults."""
METRICS = ("recall@5", "recall@10", "ndcg@5", "ndcg@10")


def load(path: Path, name: str) -> Dataset:
    """The sequences of an S3-Rec file (`user item item ...`) or a JSON object of lists, rows by seeded permutation."""
    if path.suffix == ".json":
        sequences = {user: [str(x) for x in items] for user, items in json.loads(path.read_text()).items()}
    else:
        lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
        sequences = {line[0]: line[1:] for line in lines}
    lengths = [len(items) for items in sequences.values()]
    users = pa.array(list(sequences)).take(pa.array(np.repeat(np.arange(len(lengths)), lengths)))
    items = pa.array([item for items in sequences.values() for item in items], pa.large_string())
    catalog = Catalog.from_table(pa.table({"item_id": items.unique()}))
    return Dataset(catalog, Interactions.from_columns(users, items, items=catalog.ids), name=name)


def leave_one_out(dataset: Dataset) -> tuple[Dataset, Task, Task]:
    """Training events, the validation task and the test task."""
    events = dataset.interactions
    assert events is not None
    back = np.bincount(events.user)[events.user] - events.position

    def task(name: str, place: int) -> Task:
        users = np.arange(len(events.users), dtype=np.int32)
        requests = Requests.histories(events.take(back > place).histories, user=users)
        return Task(name, requests, Judgments.single(events.item[back == place]))

    return dataset.with_interactions(events.take(back > 2)), task("valid", 2), task("test", 1)


def measure(model: Recommender, task: Task) -> dict[str, float]:
    """Recall and nDCG of the answers `search` gives (one relevant item per request)."""
    hits = model.search(task.prepared(), 10)
    found = hits.rows == task.judgments.items.values[:, None]
    gain = found / np.log2(np.arange(2, 12))
    return {
        f"{name}@{k}": float(v[:, :k].sum(1).mean()) for k in (5, 10) for name, v in (("recall", found), ("ndcg", gain))
    }


def run(dataset: Dataset, arm: str, seed: int, config: dict[str, Any], work: Path) -> dict[str, Any]:
    """Fit one arm with one seed and measure it."""
    train, valid, test = leave_one_out(dataset)
    model = find("recommenders", ARMS[arm]["part"])(**config)
    label = f"{dataset.name}-{arm}-{seed}"
    if hasattr(model, "checkpoint"):
        work.mkdir(parents=True, exist_ok=True)
        model.checkpoint = work / f"{label}.safetensors"
        model.on_epoch = lambda epoch, loss, figure, seconds: print(
            f"{label} epoch {epoch} loss {loss:.4f} valid ndcg@10 {figure or 0:.4f} {seconds:.1f} s", flush=True
        )
    report = model.fit(train, valid=valid, rng=seed)
    if getattr(model, "checkpoint", None) is not None:
        model.checkpoint.unlink(missing_ok=True)
    began = time.monotonic()
    figures = {"valid": measure(model, valid), "test": measure(model, test)}
    return {
        "dataset": dataset.name,
        "arm": arm,
        "seed": seed,
        "config": json.loads(model.config.model_dump_json()),
        "set": config,
        **figures,
        "fit_seconds": round(report.seconds, 2),
        "answer_seconds": round((time.monotonic() - began) / 2, 2),
        "epochs": report.epochs,
        "best_epoch": report.best_epoch,
        "stopped": report.stopped,
        "requests": len(test),
        "data": train.fingerprint,
        "machine": f"{platform.machine()}, {os.environ.get('OMP_NUM_THREADS', os.cpu_count())} threads",
    }


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: mean over seeds (and their standard deviation) of the test figures."""
    lines = []
    for dataset in dict.fromkeys(r["dataset"] for r in results):
        lines += [
            f"### {dataset}",
            "",
            "| arm | R@5 | R@10 | N@5 | N@10 | seeds | fit s |",
            "|---|---|---|---|---|---|---|",
        ]
        for arm in ARMS:
            mine = [r for r in results if r["dataset"] == dataset and r["arm"] == arm]
            if not mine:
                continue
            values = np.array([[r["test"][metric] for metric in METRICS] for r in mine])
            spread = [f" ± {s:.4f}" if len(mine) > 1 else "" for s in values.std(0, ddof=1 if len(mine) > 1 else 0)]
            cells = " | ".join(f"{v:.4f}{s}" for v, s in zip(values.mean(0), spread, strict=True))
            lines.append(f"| {arm} | {cells} | {len(mine)} | {np.mean([r['fit_seconds'] for r in mine]):.1f} |")
        lines.append("")
    return "\n".join(lines)


def write(path: Path, results: list[dict[str, Any]]) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(results, indent=1))
    os.replace(temporary, path)
    path.with_suffix(".md").write_text(table(results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("ITEMSPACE_DATA"), help="folder of the published files"
    )
    parser.add_argument("--dataset", default="beauty", choices=list(FILES))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", default="0,1,2", help="used by arms whose result depends on one; others run once")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=JSON", help="a setting, over the recorded ones"
    )
    parser.add_argument("--out", type=Path, default=Path("results.json"))
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("--data DIR (or ITEMSPACE_DATA) must name the folder of the published files")
    dataset = load(Path(arguments.data) / FILES[arguments.dataset], arguments.dataset)
    results = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    overrides = {key: json.loads(value) for key, value in (pair.split("=", 1) for pair in arguments.set)}
    for arm in arguments.arms.split(","):
        config = ARMS[arm].get("config", {}) | SETTINGS.get(arguments.dataset, {}).get(arm, {}) | overrides
        for seed in [int(s) for s in arguments.seeds.split(",")] if ARMS[arm].get("seeded") else [0]:
            known = [r for r in results if (r["dataset"], r["arm"], r["seed"]) == (arguments.dataset, arm, seed)]
            if any(r["set"] == config for r in known):
                continue
            results = [r for r in results if r not in known]
            results.append(run(dataset, arm, seed, config, arguments.out.parent / "checkpoints"))
            write(arguments.out, results)
            print(json.dumps({k: results[-1][k] for k in ("arm", "seed", "valid", "test", "fit_seconds")}), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
