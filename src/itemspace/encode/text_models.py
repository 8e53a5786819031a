"""How texts become vectors: a sentence-transformers model run as fast as this machine allows.

`fast_model` chooses: models of BERT's kind run in `itemspace.nn.bert`, others in their own code with our batches. Either
way everything after the transformer (pooling, projections) is the model's own, in float32, and a choice is kept only after
it reproduced the model's own vectors on a few texts.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from itemspace.core.progress import track
from itemspace.core.ragged import Ragged
from itemspace.core.vectors import normalize
from itemspace.encode.token_batches import TextTokens, padded, token_batches

Precision = Literal["auto", "float32", "bfloat16", "int8"]
MEAN_COSINE, MIN_COSINE = 0.9999, 0.9995
"""Vectors this close to float32 (mean and least cosine) are of the same space; others need one of their own."""
EXACT = 1e-4
"""How far a coordinate of a unit vector may move when only the order of float32 sums changes."""
PROBES = (
    "waterproof boots",
    'Nickel-Finish MIRROR, 8.5" x 10x (2-pack)  ',
    "a",
    "",
    "crème brûlée für zwei 防水 ботинки",
    "Moisturizing night cream for dry and sensitive skin with hyaluronic acid and vitamin E, fragrance free, 50 ml",
    "USB-C cable",
    "the quick brown fox jumps over the lazy dog. " * 12,
)


@dataclass(frozen=True)
class Shift:
    """How far vectors moved from float32: mean and least cosine over `texts` texts."""

    mean: float
    least: float
    texts: int

    @classmethod
    def between(cls, vectors: np.ndarray, exact: np.ndarray) -> Shift:
        """Of two arrays [n, d] whose rows belong together; at least one row."""
        cosine = np.einsum("nd,nd->n", normalize(vectors), normalize(exact), dtype=np.float64)
        return cls(float(cosine.mean()), float(cosine.min()), len(cosine))

    @property
    def small(self) -> bool:
        """Whether the vectors may share the space of the float32 ones."""
        return self.mean >= MEAN_COSINE and self.least >= MIN_COSINE

    def to_json(self) -> dict[str, float]:
        return asdict(self)


class TextModel(ABC):
    """Texts to vectors float32 [n, d], not necessarily of length 1. `precision` is that of its large products."""

    precision: str = "float32"
    kind: str = ""

    @abstractmethod
    def encode(self, texts: Sequence[str], prompt: str = "") -> np.ndarray:
        """Vectors [n, d] of `texts`, each with `prompt` before it; at least one text."""


class TokenModel(TextModel):
    """Tokenizes once, sorts by tokens, and runs batches of at most `budget` tokens through `forward`."""

    def __init__(self, tokens: TextTokens, pad: int, budget: int) -> None:
        self.tokens, self.pad, self.budget = tokens, pad, budget

    @abstractmethod
    def forward(self, ids: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Vectors [n, d] of IDs int64 [n, width]; mask bool [n, width], None where nothing is padded."""

    def encode(self, texts: Sequence[str], prompt: str = "") -> np.ndarray:
        tokens: Ragged = self.tokens([prompt + text for text in texts] if prompt else texts)
        out: np.ndarray | None = None
        for rows in tracked(token_batches(tokens.lengths, self.budget)):
            made = self.forward(*padded(tokens.take(rows), self.pad))
            if out is None:
                out = np.empty((len(texts), made.shape[1]), np.float32)
            out[rows] = made
        assert out is not None
        return out


class BertModel(TokenModel):
    """A model of BERT's kind: `itemspace.nn.bert` where the library's transformer was, then the library's own modules."""

    kind = "packed BERT"

    def __init__(self, model: Any, shape: Any, precision: str, budget: int) -> None:
        import torch

        from itemspace.nn.bert import Bert
        from itemspace.train.hardware import product_dtype

        self.bert = Bert(model[0].model.state_dict(), shape, product_dtype(precision))
        limit = min(model.max_seq_length or self.bert.max_length, self.bert.max_length)
        super().__init__(
            TextTokens(model.tokenizer.backend_tokenizer, limit), model.tokenizer.pad_token_id or 0, budget
        )
        self.rest, self.device, self.precision, self._torch = list(model)[1:], model.device, precision, torch

    def forward(self, ids: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        torch = self._torch
        with torch.inference_mode():
            tokens = torch.from_numpy(ids).to(self.device)
            seen = None if mask is None else torch.from_numpy(mask).to(self.device)
            states = self.bert(tokens, seen)
            attention = torch.ones_like(tokens) if seen is None else seen.long()
            return _after(self.rest, {"token_embeddings": states, "attention_mask": attention, "modality": "text"})


class LibraryModel(TextModel):
    """Any sentence-transformers model in its own code: batches by tokens where it has a tokenizer, by count otherwise.

    In bfloat16 a copy of its first module runs in that precision; what follows is float32.
    """

    kind = "sentence-transformers"

    def __init__(self, model: Any, precision: str, budget: int, batch_size: int) -> None:
        import torch

        self.model, self.precision, self._torch = model, precision, torch
        self.budget, self.batch_size = budget, batch_size
        self.first = model[0] if precision == "float32" else copy.deepcopy(model[0]).to(torch.bfloat16)
        backend = getattr(getattr(model, "tokenizer", None), "backend_tokenizer", None)
        limit = model.max_seq_length
        self.tokens = TextTokens(backend, limit) if backend is not None and limit else None

    def encode(self, texts: Sequence[str], prompt: str = "") -> np.ndarray:
        if self.tokens is None:
            order = np.argsort([-len(text) for text in texts], kind="stable")
            batches = [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]
        else:
            batches = token_batches(self.tokens([prompt + text for text in texts]).lengths, self.budget)
        out: np.ndarray | None = None
        for rows in tracked(batches):
            made = self._batch([texts[i] for i in rows.tolist()], prompt)
            if out is None:
                out = np.empty((len(texts), made.shape[1]), np.float32)
            out[rows] = made
        assert out is not None
        return out

    def _batch(self, texts: list[str], prompt: str) -> np.ndarray:
        torch = self._torch
        with torch.inference_mode():
            if self.precision == "float32":
                return np.asarray(
                    self.model.encode(texts, prompt=prompt or None, batch_size=len(texts), show_progress_bar=False),
                    np.float32,
                )
            given = self.model.preprocess(texts, prompt=prompt or None)
            features = {k: v.to(self.model.device) if torch.is_tensor(v) else v for k, v in given.items()}
            features = self.first(features)
            features = {
                k: v.float() if torch.is_tensor(v) and v.is_floating_point() else v for k, v in features.items()
            }
            return _after(list(self.model)[1:], features)


def _after(modules: Iterable[Any], features: dict[str, Any]) -> np.ndarray:
    for module in modules:
        features = module(features)
    found: np.ndarray = features["sentence_embedding"].float().cpu().numpy()
    return found


def tracked(batches: list[np.ndarray]) -> Iterable[np.ndarray]:
    """`batches` with progress, where there are enough of them to wait for."""
    return track(batches, "encoding texts", total=len(batches)) if len(batches) > 8 else batches


def fast_model(
    model: Any, precision: Precision, budget: int, batch_size: int
) -> tuple[TextModel, bool, tuple[str, ...]]:
    """The fastest way to run `model`, whether its vectors are too far from float32 to share their space, and notes.

    precision: "float32", "bfloat16", or "auto": bfloat16 where the hardware multiplies it and the probes stay close.
    """
    exact = normalize(model.encode(list(PROBES), batch_size=len(PROBES), show_progress_bar=False))
    notes: list[str] = []
    shape = bert_shape(model)

    def made(precision: str) -> TextModel:
        if shape is None:
            return LibraryModel(model, precision, budget, batch_size)
        return BertModel(model, shape, precision, budget)

    if shape is not None and not np.allclose(normalize(made("float32").encode(PROBES)), exact, atol=EXACT):
        notes.append("the packed BERT does not reproduce this model; its own code is used.")
        shape = None
    if precision == "float32" or (precision == "auto" and not _fast_bfloat16(model)):
        return made("float32"), False, tuple(notes)
    lower = made("bfloat16")
    shift = Shift.between(lower.encode(PROBES), exact)
    if precision == "bfloat16" or shift.small:
        return lower, not shift.small, tuple(notes)
    notes.append(f"bfloat16 moves vectors too far (least cosine {shift.least:.5f}); float32 is used.")
    return made("float32"), False, tuple(notes)


def bert_shape(model: Any) -> Any:
    """The `BertShape` of a sentence-transformers model that `BertModel` can run, None for any other."""
    from itemspace.nn.bert import BertShape

    first = model[0]
    inner: Any = getattr(first, "model", None)
    plain = (
        type(first).__name__ == "Transformer"
        and inner is not None
        and getattr(model.tokenizer, "backend_tokenizer", None) is not None
        and len(model) > 1
        and type(model[1]).__name__ == "Pooling"
        and getattr(model[1], "include_prompt", True)
    )
    return BertShape.of(inner.config) if plain else None


def _fast_bfloat16(model: Any) -> bool:
    import torch

    from itemspace.train.hardware import fast_bfloat16

    if model.device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(model.device.type == "cpu" and fast_bfloat16())
