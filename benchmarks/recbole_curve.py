"""RecBole's SASRec on Beauty trained to its best validation epoch: the curve that time to quality is read from.

    python benchmarks/recbole_curve.py --data DIR --folder DIR   # in an interpreter that has recbole 1.2.1

RecBole's own dataset, loader, loss, optimizer, trainer, early stopping (10 epochs without a better NDCG@10) and
evaluation. One thing is changed, because the curve needs epochs and not seconds: a batch is sent through the network in
groups of like length, each cut to its longest history. Behind a causal mask, padding changes no prediction (checked on
the first batch: outputs equal without dropout), so an epoch learns what RecBole's own would and takes a fraction of its
time; seconds per epoch are measured on the unchanged model by benchmarks/train.py. Progress is kept after every epoch
and a stopped run continues.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

for _name, _kind in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
    setattr(np, _name, _kind)  # RecBole 1.2.1 names types that NumPy 2 removed

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.model.sequential_recommender import SASRec  # noqa: E402
from recbole.trainer import Trainer  # noqa: E402
from recbole.utils import init_logger, init_seed  # noqa: E402

WIDTHS = (3, 5, 8, 12, 20, 50)


class ByLength(SASRec):  # type: ignore[misc]
    """SASRec whose batches run in groups of like length."""

    def forward(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
        out = torch.empty(len(item_seq), self.hidden_size)
        least = 0
        for width in WIDTHS:
            rows = torch.nonzero((item_seq_len > least) & (item_seq_len <= width)).flatten()
            least = width
            if len(rows):
                out = out.index_copy(0, rows, super().forward(item_seq[rows, :width], item_seq_len[rows]))
        return out


def write_interactions(source: Path, folder: Path) -> None:
    """Beauty.txt as RecBole's atomic file; the place in the history stands for the time the file does not have."""
    target = folder / "beauty" / "beauty.inter"
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w") as out:
        out.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for line in source.read_text().splitlines():
            user, *items = line.split()
            out.writelines(f"{user}\t{item}\t{place}\n" for place, item in enumerate(items))


def settings(folder: Path) -> dict[str, Any]:
    return {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "TIME_FIELD": "timestamp",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": 50,
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "train_batch_size": 2048,
        "eval_batch_size": 1024,
        "epochs": 300,
        "stopping_step": 10,
        "learning_rate": 1e-3,
        "eval_args": {
            "split": {"LS": "valid_and_test"},
            "order": "TO",
            "group_by": "user",
            "mode": {"valid": "full", "test": "full"},
        },
        "metrics": ["Recall", "NDCG"],
        "topk": [5, 10],
        "valid_metric": "NDCG@10",
        "use_gpu": False,
        "seed": 2020,
        "show_progress": False,
        "state": "WARNING",
    }


def same_outputs(config: Any, dataset: Any, model: ByLength, batch: Any) -> float:
    """The greatest difference to the unchanged model on one batch, without dropout."""
    plain = SASRec(config, dataset)
    plain.load_state_dict(model.state_dict())
    plain.eval(), model.eval()
    with torch.no_grad():
        seq, length = batch["item_id_list"][:512], batch["item_length"][:512]
        return float((plain.forward(seq, length) - model.forward(seq, length)).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parents[1] / "docs/benchmarks/recbole-beauty-curve.json"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.folder.mkdir(parents=True, exist_ok=True)
    write_interactions(options.data / "amazon-beauty" / "Beauty.txt", options.folder)
    config = Config(model="SASRec", dataset="beauty", config_dict=settings(options.folder))
    config["nproc"], config["worker"] = 1, 0
    init_seed(config["seed"], True)
    init_logger(config)
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    model = ByLength(config, train.dataset)
    trainer = Trainer(config, model)
    trainer.saved_model_file = str(options.folder / "saved" / "best.pth")
    state = options.folder / "curve.json"
    last = options.folder / "saved" / "last.pth"
    difference = same_outputs(config, train.dataset, model, next(iter(train)))
    print(
        f"{len(train.dataset)} training samples; largest difference to the unchanged model {difference:.1e}", flush=True
    )
    if difference > 1e-5:
        raise SystemExit("the grouped model is not RecBole's")
    told: dict[str, Any] = {"epochs": [], "best_epoch": -1, "best": -1.0, "test": None, "difference": difference}
    if state.exists():
        told = json.loads(state.read_text())
        kept = torch.load(last, weights_only=True)
        model.load_state_dict(kept["model"]), trainer.optimizer.load_state_dict(kept["optimizer"])
        torch.set_rng_state(kept["rng"])
    for epoch in range(len(told["epochs"]), config["epochs"]):
        if epoch - told["best_epoch"] > config["stopping_step"]:
            break
        started = time.process_time()
        loss = trainer._train_epoch(train, epoch)
        trained = time.process_time() - started
        scores = trainer.evaluate(valid, load_best_model=False)
        row = {"epoch": epoch + 1, "train_loss": loss / len(train), "valid_ndcg@10": scores["ndcg@10"]}
        row |= {"valid_recall@10": scores["recall@10"], "cpu_seconds": trained}
        if scores["ndcg@10"] > told["best"]:
            told |= {"best": scores["ndcg@10"], "best_epoch": epoch}
            torch.save({"state_dict": model.state_dict()}, options.folder / "saved" / "best.pth")
        told["epochs"].append(row)
        kept = {"model": model.state_dict(), "optimizer": trainer.optimizer.state_dict(), "rng": torch.get_rng_state()}
        torch.save(kept, last)
        state.write_text(json.dumps(told))
        print(json.dumps(row), flush=True)
    model.load_state_dict(torch.load(options.folder / "saved" / "best.pth", weights_only=True)["state_dict"])
    told["test"] = dict(trainer.evaluate(test, load_best_model=False))
    told["best_epoch"] += 1
    told["settings"] = {k: v for k, v in settings(options.folder).items() if k not in ("data_path", "checkpoint_dir")}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
