"""RecBole's SASRec on one file of item sequences, an epoch at a time, for `benchmarks/train.py`.

Runs in RecBole's own interpreter and imports nothing of itemspace. It writes RecBole's atomic file, builds config,
dataset, model and trainer through RecBole's public API and then waits: every line on standard input is answered by one
JSON line on standard output.

    epoch      trains one epoch with `Trainer._train_epoch`: {"seconds", "cpu_seconds", "loss", "targets", "peak_mb"}
    valid      one pass of `Trainer._valid_epoch`: {"seconds", "valid": {...}}
    (no more)  ends

RecBole 1.2.1 was written for numpy 1 and older torch. The names it needs that newer releases took away are put back here
(`shims`), and nothing else of it is changed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any


def shims() -> None:
    """Names of numpy 1 that RecBole's configurator reads on being made; numpy 2 only renamed them."""
    import numpy as np

    for old, new in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        if not hasattr(np, old):
            setattr(np, old, new)


def write_atomic(sequences: Path, folder: Path) -> Path:
    """`folder`/sequences/sequences.inter from lines of "user item item ...", oldest first; the place serves as time."""
    path = folder / "sequences" / "sequences.inter"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        lines = ["user_id:token\titem_id:token\ttimestamp:float"]
        for line in sequences.read_text().splitlines():
            user, *items = line.split()
            lines += [f"{user}\t{item}\t{place}" for place, item in enumerate(items)]
        held = path.with_suffix(f".{os.getpid()}.tmp")
        held.write_text("\n".join(lines) + "\n")
        held.replace(path)
    return path


class First:
    """The first `count` batches of a loader, for smoke runs."""

    def __init__(self, loader: Any, count: int) -> None:
        self.loader, self.count, self.shuffle = loader, count, loader.shuffle

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.loader), self.count)

    def __len__(self) -> int:
        return min(self.count, len(self.loader))


def prepare(folder: Path, settings: dict[str, Any]) -> tuple[Any, Any, Any]:
    """RecBole's trainer, training and validation loaders: its defaults for SASRec, leave-one-out, full ranking."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    chosen = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
        "train_neg_sample_args": None,
        "loss_type": "CE",
        "train_batch_size": 2048,
        "MAX_ITEM_LIST_LENGTH": 50,
        "metrics": ["Recall", "NDCG"],
        "topk": [5, 10],
        "valid_metric": "NDCG@10",
        "show_progress": False,
        "state": "ERROR",
    }
    config = Config(model="SASRec", dataset="sequences", config_dict=chosen | settings)
    init_seed(config["seed"], config["reproducibility"])
    train, valid, _ = data_preparation(config, create_dataset(config))
    model = get_model(config["model"])(config, train._dataset).to(config["device"])
    return get_trainer(config["MODEL_TYPE"], config["model"])(config, model), train, valid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where RecBole's files go")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, help="train only so many batches per epoch (smoke runs)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON", help="a setting of RecBole's")
    options = parser.parse_args()
    answers, sys.stdout, sys.argv = sys.stdout, sys.stderr, sys.argv[:1]  # RecBole reads arguments and prints
    shims()
    import torch

    torch.set_num_threads(options.threads)
    write_atomic(options.sequences, options.folder)
    settings = {key: json.loads(value) for key, value in (pair.split("=", 1) for pair in options.set)}
    trainer, train, valid = prepare(options.folder, settings)
    targets = len(train._dataset)
    loader = train if options.batches is None else First(train, options.batches)

    def tell(**answer: Any) -> None:
        print(json.dumps(answer | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), file=answers)
        answers.flush()

    tell(ready=True, targets=targets, batches=len(loader), torch=torch.__version__)
    epoch = 0
    for line in sys.stdin:
        began, cpu = time.perf_counter(), time.process_time()
        if line.strip() == "epoch":
            loss = trainer._train_epoch(loader, epoch, show_progress=False)
            epoch += 1
            taken = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
            tell(**taken, loss=float(loss) / max(len(loader), 1), targets=targets)
        elif line.strip() == "valid":
            _, values = trainer._valid_epoch(valid, show_progress=False)
            tell(seconds=time.perf_counter() - began, valid={k: float(v) for k, v in values.items()})


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
