"""`RQVAE`: residual quantization inside an auto-encoder, trained with torch (extra `train`), assigned without it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from itemspace.core.config import load_object
from itemspace.core.contracts import FitReport
from itemspace.core.errors import ContractError
from itemspace.core.extras import require
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.vectors import Dense, Vectors
from itemspace.identify.quantizer import Quantizer, QuantizerConfig, named, renamed_rows, warm_arrays
from itemspace.identify.residual import residual_costs, residual_levels


class RQVAEConfig(QuantizerConfig):
    levels: int = Field(3, ge=1, le=32)
    codebook_size: int = Field(256, ge=2, le=65_536)
    hidden_sizes: tuple[int, ...] = Field(
        (512, 256, 128), description="layers of the encoder; the decoder mirrors them"
    )
    latent_size: int = Field(32, ge=1)
    commitment: float = Field(0.25, ge=0, description="beta: how hard latents are pulled to their symbols")
    standardize: bool = Field(True, description="inputs with mean 0 and variance 1; without it codes tend to collapse")
    initialization: Literal["kmeans", "random"] = "kmeans"
    repair: bool = Field(True, description="unused symbols are placed anew after every epoch, a collapsed level whole")
    collapse: float = Field(0.2, ge=0, le=1, description="a level has collapsed below this share of perplexity")
    alignment: float = Field(0.0, ge=0, description="weight of the alignment to behavior (LETTER's alpha, .01 there)")
    diversity: float = Field(0.0, ge=0, description="weight of the diversity of symbols (LETTER's beta, .0001 there)")
    diversity_clusters: int = Field(10, ge=2)
    temperature: float = Field(0.1, gt=0, description="of the alignment")
    epochs: int = Field(20, ge=1)
    batch_size: int = Field(1024, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    most_items: int = Field(100_000, ge=1, description="items trained on, drawn at random where there are more")
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


class RQVAE(Quantizer):
    """Residual quantization in the latent space of an auto-encoder, both trained together (TIGER's tokenizer).

    Fitted again from an earlier fit (`warm`), the encoder stays and codebooks and decoder go on learning.

    Use it to shape codes by more than their content: `alignment` pulls what the codes stand for to vectors of behavior
    (LETTER; hand them to `fit(..., behavior=)`), `diversity` spreads the symbols. For content alone `ResidualKMeans` is
    as good and much faster.

    The published settings collapse to a few codes; the defaults standardize inputs, place codebooks by k-means, and after
    every epoch place unused symbols on residuals of the epoch. A level whose perplexity falls below `collapse` of its
    size is placed anew whole; `report.notes` says when, and a level still collapsed at the end warns.

    Source: Rajput et al. 2023 (TIGER), section 3.1; alignment and diversity: Wang et al. 2024 (LETTER), eqs. 3-6.
    """

    config: RQVAEConfig
    report: FitReport | None = None
    _behavior: Dense | None = None

    @property
    def level_sizes(self) -> tuple[int, ...]:
        return tuple(len(book) for book in self._books)

    @property
    def _books(self) -> list[np.ndarray]:
        return named("codebook", self._fitted())

    def fit(
        self, representations: Vectors, *, rng: RNG = 0, warm: Self | None = None, behavior: Vectors | None = None
    ) -> Self:
        """Train. behavior: vectors of the same items from training events only; a row of zeros is an item without any.

        Raises:
            ContractError: `alignment` is on without `behavior`, or the other way round, or lengths differ.
            MissingExtraError: torch is not installed.
        """
        if (behavior is not None) != (self.config.alignment > 0):
            raise ContractError("alignment needs fit(..., behavior=vectors), and behavior needs alignment > 0.")
        if behavior is not None and (not isinstance(behavior, Dense) or len(behavior) != len(representations)):
            raise ContractError("behavior is one Dense vector for every item that is fitted.")
        self._behavior = behavior if isinstance(behavior, Dense) else None
        try:
            return super().fit(representations, rng=rng, warm=warm)
        finally:
            self._behavior = None

    def _learn(self, vectors: Dense, rng: RNG, warm: Self | None) -> dict[str, np.ndarray]:
        require("torch", extra="train", needed_for="Training an RQ-VAE")
        rows = np.arange(len(vectors))
        if len(rows) > self.config.most_items:
            rows = np.sort(derive(rng, "items").choice(len(rows), self.config.most_items, replace=False))
        values = self._read(vectors.values[rows])
        behavior = None if self._behavior is None else self._read(self._behavior.values[rows])
        train = load_object("itemspace.identify.rq_vae_training:train")
        seed = as_seed(derive(rng, "rq-vae"))
        arrays, self.report = train(values, behavior, self.config, warm_arrays(warm), seed)
        still = [note for note in self.report.notes if note.startswith("at the end")]
        if still:
            warnings.warn(f"RQVAE: {still[0]}", stacklevel=4)
        found: dict[str, np.ndarray] = arrays
        return found

    def latents(self, values: np.ndarray) -> np.ndarray:
        """What is quantized: [n, latent_size], of values [n, d]."""
        arrays = self._fitted()
        return mlp((values - arrays["mean"]) / arrays["scale"], arrays, "encoder")

    def _encode(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        levels, unsure = residual_levels(self.latents(values), self._books)
        return levels, unsure

    def _costs(self, values: np.ndarray, prefix: np.ndarray, level: int) -> np.ndarray:
        return residual_costs(self.latents(values), prefix, self._books, level)

    def quantized(self, levels: np.ndarray) -> np.ndarray:
        """The sum of the symbols' vectors: [n, latent_size]."""
        return np.asarray(sum(book[levels[:, level]] for level, book in enumerate(self._books)))

    def _decode(self, levels: np.ndarray) -> np.ndarray:
        arrays = self._fitted()
        return mlp(self.quantized(levels), arrays, "decoder") * arrays["scale"] + arrays["mean"]

    def _renamed(self, arrays: dict[str, np.ndarray], maps: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        books = {f"codebook-{level}": renamed_rows(arrays[f"codebook-{level}"], m) for level, m in enumerate(maps)}
        return {**arrays, **books}

    def _told(self) -> dict[str, Any]:
        if self.report is None:
            return {}
        report = self.report
        curve = {name: [float(v) for v in values] for name, values in report.curve.items()}
        return {"seconds": report.seconds, "epochs": report.epochs, "curve": curve, "notes": list(report.notes)}

    def _remember(self, told: dict[str, Any]) -> None:
        if "curve" in told:
            self.report = FitReport(told["seconds"], told["epochs"], curve=told["curve"], notes=tuple(told["notes"]))


def mlp(values: np.ndarray, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Layers `name-weight-i` [in, out] and `name-bias-i` with a ReLU between them."""
    layers = list(zip(named(f"{name}-weight", arrays), named(f"{name}-bias", arrays), strict=True))
    for number, (weight, bias) in enumerate(layers):
        values = values @ weight.astype(values.dtype, copy=False) + bias
        if number + 1 < len(layers):
            values = np.maximum(values, 0)
    return values
