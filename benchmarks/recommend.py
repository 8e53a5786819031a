"""Next-item recommendation on published Amazon files: every arm on one split, one protocol, one table.

    python benchmarks/recommend.py --data DIR --dataset beauty --arms popularity,counting --seeds 0,1,2 --out results.json

Protocol: leave-one-out in file order (last item = test, the one before = validation; the test history includes the
validation item), the full catalogue ranked, items of the history excluded, ties broken by a hash of the ID. Item rows are
a seeded permutation: the integer IDs of these files are minted in user order and leak. Settings were chosen on validation
only (`--tune` for the arms that need no torch; a dataset without a tuning of its own takes Beauty's) and are recorded with
every result. A result that exists (same dataset, arm, seed and settings) is not made again;
an interrupted training continues from its checkpoint.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.contracts import Recommender
from itemspace.core.dataset import Dataset
from itemspace.core.plugins import find
from itemspace.core.task import Task
from itemspace.data.splits import Split, leave_one_out

FOLDERS = {"beauty": "amazon-beauty", "sports": "amazon-sports", "scientific": "amazon-scientific"}
ARMS: dict[str, dict[str, Any]] = {
    "popularity": {"part": "popularity"},
    "counting": {"part": "counting"},
    "item-knn": {"part": "item-knn"},
    "ease": {"part": "ease", "config": {"solver": "dense"}},
    "ease-sparse": {"part": "ease", "config": {"solver": "sparse"}},
    "bpr-mf": {"part": "bpr-mf", "seeded": True},
    "sasrec-ce": {"part": "sasrec", "seeded": True, "config": {"loss": "softmax"}},
    "sasrec-bce": {"part": "sasrec", "seeded": True, "config": {"loss": "binary"}},
}
_SASREC_CE = {"evaluate_every": 2, "patience": 4}
_SASREC_BCE = {"evaluate_every": 5, "patience": 4}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    name: {"sasrec-ce": _SASREC_CE, "sasrec-bce": _SASREC_BCE} for name in FOLDERS
}
"""Per dataset and arm, what validation preferred to the defaults."""
SPACES: dict[str, dict[str, list[Any]]] = {
    "counting": {
        "window": [5, 10, 50],
        "distance_decay": [0.7, 1.0],
        "backward": [0.0, 0.5],
        "popularity_power": [0.0, 0.4],
        "last": [10, 50],
        "recency_decay": [0.35, 0.65, 0.8],
    },
    "item-knn": {"neighbors": [50, 500], "shrinkage": [1.0, 30.0, 100.0], "recency_decay": [0.5, 0.65, 1.0]},
    "ease": {"regularization": [100.0, 500.0], "recency_decay": [0.8, 0.65]},
    "ease-sparse": {"regularization": [100.0, 500.0], "recency_decay": [0.8, 0.65], "support": [100, 200]},
    "bpr-mf": {"learning_rate": [0.2], "regularization": [0.003, 0.03]},
}
"""What `--tune` tries beside the defaults, one setting after another, keeping what validation prefers."""
METRICS = ("recall@5", "recall@10", "ndcg@5", "ndcg@10")


def leave_one_out_of(root: Path, name: str) -> Split:
    """The published file in file order, split; rows are a seeded permutation."""
    return leave_one_out(Dataset.read(FOLDERS[name], root=root))


def measure(model: Recommender, task: Task) -> dict[str, float]:
    """Recall and nDCG of the answers `search` gives (one relevant item per request)."""
    hits = model.search(task.prepared(), 10)
    found = hits.rows == task.judgments.items.values[:, None]
    gain = found / np.log2(np.arange(2, 12))
    return {
        f"{name}@{k}": float(v[:, :k].sum(1).mean()) for k in (5, 10) for name, v in (("recall", found), ("ndcg", gain))
    }


def tune(split: Split, arm: str) -> dict[str, Any]:
    """Settings by coordinate search on validation nDCG@10 (one pass over `SPACES`, seed 0)."""

    def value(settings: dict[str, Any]) -> float:
        model = find("recommenders", ARMS[arm]["part"])(**ARMS[arm].get("config", {}), **settings)
        model.fit(split.train, valid=split.valid, rng=0)
        return measure(model, split.valid)["ndcg@10"]

    chosen: dict[str, Any] = {}
    best = value(chosen)
    for name, options in SPACES.get(arm, {}).items():
        for option in options:
            found = value({**chosen, name: option})
            print(f"{split.train.name} {arm} {chosen | {name: option}}: valid ndcg@10 {found:.5f}", flush=True)
            if found > best:
                best, chosen = found, chosen | {name: option}
    return chosen


def run(split: Split, dataset: str, arm: str, seed: int, config: dict[str, Any], work: Path) -> dict[str, Any]:
    """Fit one arm with one seed and measure it."""
    model = find("recommenders", ARMS[arm]["part"])(**config)
    label = f"{dataset}-{arm}-{seed}"
    if hasattr(model, "checkpoint"):
        work.mkdir(parents=True, exist_ok=True)
        model.checkpoint = work / f"{label}.safetensors"
        model.on_epoch = lambda epoch, loss, figure, seconds: print(
            f"{label} epoch {epoch} loss {loss:.4f} valid ndcg@10 {figure or 0:.4f} {seconds:.1f} s", flush=True
        )
    report = model.fit(split.train, valid=split.valid, rng=seed)
    if getattr(model, "checkpoint", None) is not None:
        model.checkpoint.unlink(missing_ok=True)
    began = time.monotonic()
    figures = {"valid": measure(model, split.valid), "test": measure(model, split.test)}
    return {
        "dataset": dataset,
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
        "requests": len(split.test),
        "data": split.train.fingerprint,
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


def record(path: Path, result: dict[str, Any]) -> list[dict[str, Any]]:
    """Add a result to the file (several processes may) and return all of them."""
    with open(path.with_name(path.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = ("dataset", "arm", "seed")
        results = [r for r in known(path) if any(r[k] != result[k] for k in key)] + [result]
        results.sort(key=lambda r: (list(FOLDERS).index(r["dataset"]), list(ARMS).index(r["arm"]), r["seed"]))
        temporary = path.with_name(path.name + ".new")
        temporary.write_text(json.dumps(results, indent=1))
        os.replace(temporary, path)
        path.with_suffix(".md").write_text(table(results))
    return results


def known(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text()) if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("ITEMSPACE_DATA"), help="folder of the published files"
    )
    parser.add_argument("--dataset", default="beauty", choices=list(FOLDERS))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", default="0,1,2", help="used by arms whose result depends on one; others run once")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=JSON", help="a setting, over the recorded ones"
    )
    parser.add_argument(
        "--tune", action="store_true", help="choose settings on validation first, once per dataset and arm"
    )
    parser.add_argument("--out", type=Path, default=Path("results.json"))
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("--data DIR (or ITEMSPACE_DATA) must name the folder of the published files")
    tuned_at = arguments.out.with_suffix(".settings.json")
    tuned = json.loads(tuned_at.read_text()) if tuned_at.exists() else {}
    overrides = {key: json.loads(value) for key, value in (pair.split("=", 1) for pair in arguments.set)}
    split = leave_one_out_of(Path(arguments.data), arguments.dataset)
    for arm in arguments.arms.split(","):
        if arguments.tune and arm in SPACES and arm not in tuned.get(arguments.dataset, {}):
            tuned.setdefault(arguments.dataset, {})[arm] = tune(split, arm)
            tuned_at.write_text(json.dumps(tuned, indent=1))
        settings = tuned.get(arguments.dataset, tuned.get("beauty", {})).get(arm, {})
        config = ARMS[arm].get("config", {}) | SETTINGS.get(arguments.dataset, {}).get(arm, {}) | settings | overrides
        for seed in [int(s) for s in arguments.seeds.split(",")] if ARMS[arm].get("seeded") else [0]:
            place = {"dataset": arguments.dataset, "arm": arm, "seed": seed, "set": config}
            if any(all(r[k] == v for k, v in place.items()) for r in known(arguments.out)):
                continue
            result = run(split, arguments.dataset, arm, seed, config, arguments.out.parent / "checkpoints")
            record(arguments.out, result)
            print(json.dumps({k: result[k] for k in ("arm", "seed", "valid", "test", "fit_seconds")}), flush=True)
    print(table(known(arguments.out)))


if __name__ == "__main__":
    main()
