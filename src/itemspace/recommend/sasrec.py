"""SASRec: causal self-attention over the history, one prediction at every position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field

from itemspace.core.config import Config
from itemspace.core.contracts import Budget, DatasetLike, FitReport
from itemspace.core.extras import require
from itemspace.core.hashing import fingerprint
from itemspace.core.interactions import Interactions
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, as_seed
from itemspace.core.task import Task
from itemspace.recommend.base import ScoringRecommender
from itemspace.train.packing import Packed, pack, windows
from itemspace.train.samplers import PopularitySampler, UnseenSampler
from itemspace.train.validation import rank_relevant

if TYPE_CHECKING:
    import torch

    from itemspace.nn.causal import CausalBackbone


SHARED_NEGATIVES = 512
ENCODED_AT_ONCE = 512
"""Histories that go through the network together in validation."""


class SASRecConfig(Config):
    """Sizes are the published ones.

    Every event after a history's first is a target once; a history of more than `max_length` targets is cut into pieces.
    loss: "softmax" is cross-entropy over the whole catalogue, "sampled-softmax" over `num_negatives` (default 512) shared
    items, "binary" the published loss against `num_negatives` (default 1) unseen items per position. batch_size: histories
    (or pieces) per step. precision: of the large products, "auto" takes bfloat16 where the hardware has it. row_width: of the packed
    matrix. chunk_mb: the most that logits take at a time. positions: whether places are counted from the oldest event
    ("start") or, as left-padded implementations do, from the newest ("end").
    """

    embedding_size: int = Field(64, ge=1)
    num_layers: int = Field(2, ge=0)
    num_heads: int = Field(2, ge=1)
    inner_size: int = Field(256, ge=1)
    max_length: int = Field(50, ge=1)
    dropout: float = Field(0.5, ge=0, lt=1)
    attention_dropout: float = Field(0.5, ge=0, lt=1)
    norm: Literal["post", "pre"] = "post"
    scale_embeddings: bool = False
    positions: Literal["start", "end"] = "start"
    initial_std: float = Field(0.02, gt=0)
    loss: Literal["softmax", "binary", "sampled-softmax"] = "softmax"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    num_negatives: int | None = Field(None, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    epochs: int = Field(200, ge=1)
    patience: int | None = Field(10, ge=1)
    evaluate_every: int = Field(1, ge=1)
    chunk_mb: float = Field(16.0, gt=0)
    row_width: int = Field(64, ge=1)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


@dataclass(frozen=True)
class _Batch:
    """Inputs of one step: packed matrices [rows, width] and, per token, its flat place, its target and its user."""

    items: torch.Tensor
    position: torch.Tensor
    segment: torch.Tensor
    at: torch.Tensor
    targets: torch.Tensor
    users: np.ndarray
    rng: np.random.Generator


class SASRec(ScoringRecommender):
    """Next-item prediction by self-attention over the last `max_length` events.

    Use it when there are enough histories to learn an order from (some ten thousand events and up); the loss matters
    more than the architecture, and "softmax" is far better than the published "binary" one. Below that `Counting` and
    `ItemKNN` are hard to beat. Unknown users are answered from their history alone; user IDs are not used.
    Source: Kang and McAuley 2018; full cross-entropy as in Klenitskiy and Vasilev 2023.
    """

    config: SASRecConfig
    _module: Any  # a CausalBackbone; torch types stay out of class annotations, which are evaluated without torch
    _table: np.ndarray
    checkpoint: Path | None = None
    """Where `fit` keeps its progress (one file, replaced after every epoch); None keeps none."""
    on_epoch: Any = None
    """Called after every epoch with (epoch, mean loss, validation nDCG@10 or None, training seconds)."""

    def fit(
        self,
        dataset: DatasetLike,
        *,
        valid: Task | None = None,
        budget: Budget | None = None,
        warm: Self | None = None,
        rng: RNG = 0,
    ) -> FitReport:
        torch = require("torch", extra="train", needed_for="SASRec")
        from itemspace.train.loop import Loop, LoopConfig

        events = self._begin(dataset)
        seed = as_seed(rng)
        self._module = self._new_module(len(events.items))
        self._module.reset(torch.Generator().manual_seed(seed))
        if warm is not None:
            self._continue_from(warm)
        shared = set(LoopConfig.model_fields) & set(SASRecConfig.model_fields)
        pieces, owners = windows(events.histories, self.config.max_length)
        loop = Loop(
            self._module,
            self._loss(events),
            lambda epoch_rng: self._batches(pieces, owners, epoch_rng),
            LoopConfig(**{name: getattr(self.config, name) for name in shared}),
            seed=seed,
            identity=fingerprint(events.fingerprint, "pieces", self.config.model_dump(exclude={"epochs", "patience"})),
            validate=None if valid is None else lambda: self.validate(valid).ndcg(10),
            checkpoint=self.checkpoint,
            on_epoch=self.on_epoch,
        )
        report = loop.run(budget)
        self._hold()
        return report

    def validate(self, task: Task) -> Any:
        """`Ranks` of the relevant items of a task with the weights as they stand (during a fit, too)."""
        import torch

        self._hold()
        # Encoded in larger batches than are scored, and multiplied by torch: NumPy's threads would wait for torch's.
        histories = self.known_history(task.prepared())
        parts = np.array_split(np.arange(len(task)), -(-len(task) // ENCODED_AT_ONCE)) if len(task) else []
        states = torch.from_numpy(np.concatenate([self.encode(histories.take(part)) for part in parts]))
        table, scores = torch.from_numpy(self._table), torch.empty(0, self.num_items)

        def score(_: Requests, at: np.ndarray) -> np.ndarray:
            nonlocal scores
            if len(scores) < len(at):
                scores = torch.empty(len(at), self.num_items)
            found: np.ndarray = torch.mm(states[at], table.T, out=scores[: len(at)]).numpy()
            return found

        return rank_relevant(score, task, self.num_items, self._ties)

    def score_block(self, requests: Requests, histories: Ragged) -> np.ndarray:
        return self.encode(histories) @ self._table.T

    def encode(self, histories: Ragged) -> np.ndarray:
        """The state after the last event of each history, float32 [q, embedding_size] (zeros for an empty one)."""
        import torch

        histories = histories.last(self.config.max_length)
        packed = self._pack(histories)
        out = np.zeros((len(histories), self.config.embedding_size), np.float32)
        some = np.flatnonzero(histories.lengths > 0)
        if len(some):
            inputs = [torch.from_numpy(x) for x in (packed.items, packed.position, packed.segment)]
            self._module.eval()
            with torch.inference_mode():
                last = torch.from_numpy(packed.at[histories.offsets[1:][some] - 1])
                out[some] = self._module(*inputs, last).numpy()
        return out

    def item_vectors(self) -> np.ndarray:
        """The learned item embeddings [num_items, embedding_size], float32 (a copy)."""
        return self._table.copy()

    # Training

    def _loss(self, events: Interactions) -> Any:
        import torch

        from itemspace.train.hardware import product_dtype
        from itemspace.train.losses.binary import BinaryCrossEntropy
        from itemspace.train.losses.full_softmax import FullSoftmax
        from itemspace.train.losses.sampled_softmax import SampledSoftmax

        config, module = self.config, self._module
        module.dtype = dtype = product_dtype(config.precision)

        def hidden(batch: _Batch) -> torch.Tensor:
            states = module(batch.items, batch.position, batch.segment)
            return states.reshape(-1, config.embedding_size)[batch.at]

        if config.loss == "softmax":
            full = FullSoftmax(chunk_mb=config.chunk_mb, dtype=dtype, label_smoothing=config.label_smoothing)
            return lambda batch: full(hidden(batch), module.items.weight, batch.targets)
        if config.loss == "binary":
            binary, unseen = BinaryCrossEntropy(), UnseenSampler(events)

            def binary_loss(batch: _Batch) -> torch.Tensor:
                negatives = torch.from_numpy(unseen.draw(batch.users, config.num_negatives or 1, batch.rng))
                return binary(hidden(batch), module.items.weight, batch.targets, negatives)

            return binary_loss
        sampled, sampler = SampledSoftmax(dtype=dtype), PopularitySampler(self.popularity)
        count = config.num_negatives or SHARED_NEGATIVES
        expected = torch.from_numpy(sampler.expected(count))

        def sampled_loss(batch: _Batch) -> torch.Tensor:
            negatives = torch.from_numpy(sampler.draw(count, batch.rng))
            return sampled(hidden(batch), module.items.weight, batch.targets, negatives, expected)

        return sampled_loss

    def _batches(self, pieces: Ragged, owners: np.ndarray, rng: np.random.Generator) -> Iterator[_Batch]:
        """Pieces of histories in random order; every event of a piece but its first is a target."""
        import torch

        order = rng.permutation(len(pieces))
        for start in range(0, len(order), self.config.batch_size):
            chosen = order[start : start + self.config.batch_size]
            part, users = pieces.take(chosen), owners[chosen]
            groups = part.groups
            first = np.zeros(len(part.values), bool)
            first[part.offsets[:-1]] = True
            final = np.zeros(len(part.values), bool)
            final[part.offsets[1:] - 1] = True
            inputs = part.filter(~final)
            packed = self._pack(inputs)
            yield _Batch(
                torch.from_numpy(packed.items),
                torch.from_numpy(packed.position),
                torch.from_numpy(packed.segment),
                torch.from_numpy(packed.at),
                torch.from_numpy(part.values[~first].astype(np.int64)),
                users[groups[~first]],
                rng,
            )

    def _pack(self, histories: Ragged) -> Packed:
        width = max(self.config.row_width, self.config.max_length)
        return pack(histories, width, from_end=self.config.positions == "end")

    def _new_module(self, items: int) -> CausalBackbone:
        import torch

        from itemspace.nn.causal import CausalBackbone, CausalConfig

        sizes = CausalConfig(**{name: getattr(self.config, name) for name in CausalConfig.model_fields})
        with torch.random.fork_rng(devices=[]):  # torch's layers draw on being made; the caller's state is not ours
            return CausalBackbone(items, sizes)

    def _continue_from(self, warm: Self) -> None:
        """Start from another fit's weights; items it did not have keep their fresh ones."""
        import torch

        state = warm._module.state_dict()
        mine = self._module.state_dict()
        with torch.no_grad():
            for name, value in state.items():
                if name == "items.weight":
                    shared = min(len(value), len(mine[name]))
                    mine[name][:shared] = value[:shared]
                else:
                    mine[name].copy_(value)

    def _hold(self) -> None:
        self._table = self._module.items.weight.detach().numpy().copy()

    # Keeping

    def _arrays(self) -> dict[str, Any]:
        return {}

    def save(self, folder: Path) -> None:
        super().save(folder)
        save_file = require("safetensors.torch", extra="train", needed_for="SASRec").save_file
        save_file(self._module.state_dict(), folder / "weights.safetensors")

    @classmethod
    def open(cls, folder: Path) -> Self:
        load_file = require("safetensors.torch", extra="train", needed_for="SASRec").load_file
        made = super().open(folder)
        made._module = made._new_module(made.num_items)
        made._module.load_state_dict(load_file(folder / "weights.safetensors"))
        made._module.eval()
        made._hold()
        return made

    def _restore(self, arrays: dict[str, Any]) -> None:
        """The weights live in their own file; see `open`."""
