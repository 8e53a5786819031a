"""The one training loop for our own models: epochs, early stopping, a checkpoint per epoch, the same result after a kill.

Plain PyTorch rather than accelerate: a model here trains on one device, and a wrapper would bring no speed and one more
version to hold.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import nn

from itemspace.core.config import Config
from itemspace.core.contracts import Budget, FitReport
from itemspace.core.extras import require
from itemspace.core.seeding import derive

Batches = Callable[[np.random.Generator], Iterable[Any]]
"""One epoch of batches from the epoch's own generator."""


class LoopConfig(Config):
    """epochs: at most. patience: evaluations without a better value before stopping; None never stops early.

    evaluate_every: epochs between evaluations. clip: the largest gradient norm, None for any. Steps are AdamW's.
    """

    epochs: int = Field(100, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    patience: int | None = Field(10, ge=1)
    evaluate_every: int = Field(1, ge=1)
    clip: float | None = Field(None, gt=0)


class Loop:
    """Trains a module until the epochs, the patience or the budget are spent, and leaves its best weights in it.

    loss: a batch to a scalar tensor. validate: a larger-is-better figure of the module as it stands, or None.
    checkpoint: a file written after every epoch by an atomic replacement; when it exists, training continues from it
    and ends with the same weights as an uninterrupted run (an epoch's randomness depends on the seed and its number only).
    identity: what the training is of (data, sizes); a checkpoint of another identity or seed is not continued.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[[Any], torch.Tensor],
        batches: Batches,
        config: LoopConfig,
        *,
        seed: int,
        identity: str = "",
        validate: Callable[[], float] | None = None,
        metric: str = "ndcg@10",
        checkpoint: Path | None = None,
        on_epoch: Callable[[int, float, float | None, float], None] | None = None,
    ) -> None:
        self.module, self.loss, self.batches, self.config = module, loss, batches, config
        self.seed, self.validate, self.metric, self.checkpoint = seed, validate, metric, checkpoint
        self.on_epoch = on_epoch
        self.identity = f"{seed} {config.learning_rate} {config.weight_decay} {config.clip} {identity}"
        self.optimizer = torch.optim.AdamW(
            module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.epoch, self.best_epoch, self.best = 0, 0, -np.inf
        self.curve: dict[str, list[float]] = {"epoch": [], "loss": [], metric: []}
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.spent = 0.0

    def run(self, budget: Budget | None = None) -> FitReport:
        """Train, and say what happened."""
        budget = budget or Budget()
        epochs = self.config.epochs if budget.epochs is None else min(self.config.epochs, budget.epochs)
        self._resume()
        stopped = "finished"
        while self.epoch < epochs:
            if self._patience_is_over():
                stopped = f"no better {self.metric} for {self.config.patience} evaluations"
                break
            if budget.seconds is not None and self.spent >= budget.seconds:
                stopped = f"the budget of {budget.seconds:g} seconds was spent"
                break
            self._one_epoch(last=self.epoch + 1 == epochs)
        if self.best_weights is not None:
            self.module.load_state_dict(self.best_weights)
        self.module.eval()
        curve = {name: values for name, values in self.curve.items() if values}
        best = self.best_epoch if self.best_weights is not None else self.epoch
        return FitReport(self.spent, self.epoch, best, curve, stopped)

    def _one_epoch(self, *, last: bool) -> None:
        began = time.monotonic()
        rng = derive(self.seed, "epoch", str(self.epoch))
        self.module.train()
        total, count = 0.0, 0
        # Dropout draws from torch's global generator: seeded per epoch inside a fork, so callers' state is untouched.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))
            for batch in self.batches(rng):
                self.optimizer.zero_grad(set_to_none=True)
                value = self.loss(batch)
                value.backward()
                if self.config.clip is not None:
                    nn.utils.clip_grad_norm_(self.module.parameters(), self.config.clip)
                self.optimizer.step()
                total, count = total + float(value.detach()), count + 1
        self.epoch += 1
        mean = total / max(count, 1)
        self.curve["epoch"].append(float(self.epoch))
        self.curve["loss"].append(mean)
        trained = time.monotonic() - began
        figure = None
        if self.validate is not None and (self.epoch % self.config.evaluate_every == 0 or last):
            self.module.eval()
            figure = self.validate()
            self.curve[self.metric].append(figure)
            if figure > self.best:
                self.best, self.best_epoch = figure, self.epoch
                self.best_weights = {name: value.clone() for name, value in self.module.state_dict().items()}
        self.spent += time.monotonic() - began
        if self.checkpoint is not None:
            self._write(self.checkpoint)
        if self.on_epoch is not None:
            self.on_epoch(self.epoch, mean, figure, trained)

    def _patience_is_over(self) -> bool:
        if self.config.patience is None or self.validate is None or self.best_weights is None:
            return False
        return self.epoch - self.best_epoch >= self.config.patience * self.config.evaluate_every

    def _write(self, path: Path) -> None:
        """Everything in one file, so that one rename makes the epoch count."""
        save_file = require("safetensors.torch", extra="train", needed_for="A training checkpoint").save_file
        tensors = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in (self.best_weights or {}).items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
        progress = {
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best": self.best if self.best_weights is not None else None,
            "curve": self.curve,
            "spent": self.spent,
            "identity": self.identity,
        }
        temporary = path.with_name(path.name + ".new")
        save_file(
            {name: value.contiguous() for name, value in tensors.items()}, temporary, {"progress": json.dumps(progress)}
        )
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)

    def _resume(self) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        safe_open = require("safetensors", extra="train", needed_for="A training checkpoint").safe_open
        with safe_open(self.checkpoint, framework="pt") as handle:
            progress = json.loads(handle.metadata()["progress"])
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 (not a dict)
        if progress["identity"] != self.identity:
            return  # another training's: it is written over
        self.module.load_state_dict(_part(tensors, "module."))
        self.best_weights = _part(tensors, "best.") or None
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _part(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.epoch, self.best_epoch = progress["epoch"], progress["best_epoch"]
        self.best = -np.inf if progress["best"] is None else progress["best"]
        self.curve, self.spent = progress["curve"], progress["spent"]


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
