"""The training of `RQVAE`: the network, its losses, and the repair of codebooks that fall out of use. Needs torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from itemspace.core.contracts import FitReport
from itemspace.core.seeding import derive
from itemspace.identify.kmeans import kmeans, nearest
from itemspace.identify.quantizer import named
from itemspace.identify.rq_vae_losses import alignment, clusters_of, diversity
from itemspace.train.hardware import product_dtype
from itemspace.train.loop import Loop, LoopConfig

if TYPE_CHECKING:
    from itemspace.identify.rq_vae import RQVAEConfig

_PLACED = 256
"""Latents per symbol from which a codebook is placed."""


class Network(nn.Module):
    """An auto-encoder with residual codebooks in between.

    mean, scale: of the inputs [d]; what comes in is standardized by them.
    """

    def __init__(self, dimension: int, config: RQVAEConfig, mean: np.ndarray, scale: np.ndarray) -> None:
        super().__init__()
        sizes = [dimension, *config.hidden_sizes, config.latent_size]
        self.encoder, self.decoder = _layers(sizes), _layers(sizes[::-1])
        self.books = nn.ParameterList(
            torch.empty(config.codebook_size, config.latent_size).uniform_(-1, 1) / config.codebook_size
            for _ in range(config.levels)
        )
        self.mean, self.scale = torch.from_numpy(mean), torch.from_numpy(scale)
        self.commitment = config.commitment
        self.dtype = product_dtype(config.precision)

    def encode(self, values: torch.Tensor) -> torch.Tensor:
        """Latents [n, latent] of values [n, d] as they are given."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            found = self.encoder((values - self.mean) / self.scale)
        return found.float()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Standardized values [n, d]."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            found = self.decoder(latents)
        return found.float()

    def quantize(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(quantized latents that pass gradients straight through, symbols [n, levels], the codebooks' loss).

        The loss is the sum over levels of |sg[r] - e|^2 + beta |r - sg[e]|^2 (TIGER, eq. 2), means over batch and axes.
        """
        loss, total, symbols = latents.new_zeros(()), torch.zeros_like(latents), []
        for book in self.books:
            residual = latents - total
            with torch.no_grad():
                near = 0.5 * (book * book).sum(1) - residual @ book.T
                symbol = near.argmin(1)
            chosen = book[symbol]
            loss = loss + functional.mse_loss(chosen, residual.detach())
            loss = loss + self.commitment * functional.mse_loss(residual, chosen.detach())
            total = total + chosen.detach()
            symbols.append(symbol)
        return latents + (total - latents).detach(), torch.stack(symbols, 1), loss


def _layers(sizes: Sequence[int]) -> nn.Sequential:
    steps: list[nn.Module] = []
    for into, out in zip(sizes[:-1], sizes[1:], strict=True):
        steps += [nn.Linear(into, out), nn.ReLU()]
    return nn.Sequential(*steps[:-1])


class Training:
    """One fit: batches, the loss, and what happens to codebooks between epochs."""

    def __init__(self, values: np.ndarray, behavior: np.ndarray | None, config: RQVAEConfig, seed: int) -> None:
        self.values, self.behavior, self.config, self.seed = values, behavior, config, seed
        mean, scale = np.zeros(values.shape[1], np.float32), np.ones(values.shape[1], np.float32)
        if config.standardize:
            mean, scale = values.mean(0), values.std(0) + 1e-6
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = Network(values.shape[1], config, mean, scale)
            if behavior is not None:
                self.network.to_behavior = nn.Linear(config.latent_size, behavior.shape[1], bias=False)
        self.counts = np.zeros((config.levels, config.codebook_size), np.int64)
        self.notes: list[str] = []
        self.perplexities: list[list[float]] = []
        self.epoch = 0
        self.clusters: list[torch.Tensor] = []

    def begin(self, before: dict[str, np.ndarray]) -> None:
        """Place the codebooks, or start from an earlier fit: its encoder stays as it is, so that most codes do."""
        if before:
            load(self.network, before)
            self.network.encoder.requires_grad_(False)
        elif self.config.initialization == "kmeans":
            self.place(range(self.config.levels), derive(self.seed, "place"))

    def batches(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Rows of one epoch in a random order."""
        self.next_epoch(rng)
        order = rng.permutation(len(self.values))
        for start in range(0, len(order), self.config.batch_size):
            if len(order) - start > 1 or start == 0:
                yield order[start : start + self.config.batch_size]

    def next_epoch(self, rng: np.random.Generator) -> None:
        """Look after the codebooks, before all epochs but the first, and count anew."""
        if self.epoch:
            self.look_after(rng)
        self.counts[:] = 0
        self.epoch += 1
        if self.config.diversity > 0:
            books = [book.detach().numpy() for book in self.network.books]
            self.clusters = [clusters_of(book, self.config.diversity_clusters, rng) for book in books]

    def loss(self, rows: np.ndarray) -> torch.Tensor:
        """Reconstruction, codebooks, and where they are on, alignment and diversity."""
        quantized, loss = self.quantized(rows)
        if self.behavior is not None:
            theirs = torch.from_numpy(self.behavior[rows])
            ours = self.network.to_behavior(quantized)
            loss = loss + self.config.alignment * alignment(ours, theirs, self.config.temperature)
        return loss

    def quantized(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """What the codes of rows stand for, in the latent space, and the loss of content alone."""
        net, config = self.network, self.config
        given = torch.from_numpy(self.values[rows])
        quantized, symbols, loss = net.quantize(net.encode(given))
        loss = loss + functional.mse_loss(net.decode(quantized), (given - net.mean) / net.scale)
        if config.diversity > 0:
            for level, book in enumerate(net.books):
                loss = loss + config.diversity * diversity(book, symbols[:, level], self.clusters[level])
        for level, counts in enumerate(self.counts):
            counts += np.bincount(symbols[:, level].numpy(), minlength=len(counts))
        return quantized, loss

    def look_after(self, rng: np.random.Generator) -> None:
        """Note how much every level is used; repair where that is on."""
        self.perplexities.append([perplexity(counts) for counts in self.counts])
        low = self.config.collapse * min(self.config.codebook_size, len(self.values))
        fallen = [level for level, found in enumerate(self.perplexities[-1]) if found < low]
        for level in fallen:
            used = int((self.counts[level] > 0).sum())
            self.notes.append(
                f"epoch {self.epoch}: level {level + 1} used {used} of {self.config.codebook_size} symbols "
                f"(perplexity {self.perplexities[-1][level]:.1f})" + (": placed anew" if self.config.repair else "")
            )
        if not self.config.repair:
            return
        if fallen:
            self.place(range(fallen[0], self.config.levels), rng)
        else:
            self.reset_dead(rng)

    def place(self, levels: Sequence[int] | range, rng: np.random.Generator) -> None:
        """Codebooks of `levels` (the last ones) by k-means over what the levels before leave of the latents."""
        residual = self.latents(rng, _PLACED * self.config.codebook_size)
        for level, book in enumerate(self.network.books):
            if level in levels:
                found = kmeans(residual, len(book), iterations=10, rng=rng, engine="numpy")
                if len(found) < len(book):  # fewer distinct latents than symbols: the rest beside them
                    more = found[rng.integers(len(found), size=len(book) - len(found))]
                    found = np.concatenate([found, more + 1e-3 * rng.standard_normal(more.shape)])
                with torch.no_grad():
                    book.copy_(torch.from_numpy(found.astype(np.float32)))
            centers = book.detach().numpy()
            residual = residual - centers[nearest(residual, centers)[0]]

    def reset_dead(self, rng: np.random.Generator) -> None:
        """Symbols that no item had in the last epoch move to residuals of random items."""
        if (self.counts > 0).all():
            return
        residual = self.latents(rng, 4 * self.config.codebook_size)
        for level, book in enumerate(self.network.books):
            dead = np.flatnonzero(self.counts[level] == 0)
            if len(dead):
                chosen = residual[rng.integers(len(residual), size=len(dead))]
                with torch.no_grad():
                    book[torch.from_numpy(dead)] = torch.from_numpy(chosen)
            centers = book.detach().numpy()
            residual = residual - centers[nearest(residual, centers)[0]]

    def latents(self, rng: np.random.Generator, most: int) -> np.ndarray:
        """Latents of at most `most` random items, as the network stands."""
        rows = np.arange(len(self.values))
        if len(rows) > most:
            rows = np.sort(rng.choice(len(rows), most, replace=False))
        with torch.no_grad():
            parts = [
                self.network.encode(torch.from_numpy(self.values[rows[i : i + 8192]]))
                for i in range(0, len(rows), 8192)
            ]
        return torch.cat(parts).numpy()

    def finish(self, report: FitReport) -> FitReport:
        """The loop's report with how much every level was used, epoch by epoch, and what was done about it."""
        self.perplexities.append([perplexity(counts) for counts in self.counts])
        low = self.config.collapse * min(self.config.codebook_size, len(self.values))
        fallen = [level + 1 for level, found in enumerate(self.perplexities[-1]) if found < low]
        if fallen:
            told = ", ".join(f"level {level} (perplexity {self.perplexities[-1][level - 1]:.1f})" for level in fallen)
            self.notes.append(f"at the end {told} of {self.config.codebook_size} symbols is collapsed.")
        curve = {f"perplexity-{i + 1}": [p[i] for p in self.perplexities] for i in range(self.config.levels)}
        return replace(report, curve={**report.curve, **curve}, notes=(*report.notes, *self.notes))


def train(
    values: np.ndarray, behavior: np.ndarray | None, config: RQVAEConfig, before: dict[str, np.ndarray], seed: int
) -> tuple[dict[str, np.ndarray], FitReport]:
    """The arrays of an `RQVAE` fitted to values [n, d] (and behavior [n, b]), and what happened."""
    training = Training(values, behavior, config, seed)
    training.begin(before)
    settings = LoopConfig(
        epochs=config.epochs, learning_rate=config.learning_rate, weight_decay=config.weight_decay, patience=None
    )
    loop = Loop(training.network, training.loss, training.batches, settings, seed=seed)
    report = training.finish(loop.run())
    return arrays_of(training.network), report


def perplexity(counts: np.ndarray) -> float:
    """2 to the entropy of counts [s]: how many symbols are in use, by weight; 1 where there is one."""
    share = counts[counts > 0] / max(int(counts.sum()), 1)
    return float(np.exp(-(share * np.log(share)).sum()))


def arrays_of(network: Network) -> dict[str, np.ndarray]:
    """What assigns without torch: weights [in, out], biases, codebooks, mean, scale."""
    arrays = {"mean": network.mean.numpy(), "scale": network.scale.numpy()}
    for name, stack in (("encoder", network.encoder), ("decoder", network.decoder)):
        linear = [layer for layer in stack if isinstance(layer, nn.Linear)]
        for number, layer in enumerate(linear):
            arrays[f"{name}-weight-{number}"] = layer.weight.detach().numpy().T.copy()
            arrays[f"{name}-bias-{number}"] = layer.bias.detach().numpy().copy()
    for level, book in enumerate(network.books):
        arrays[f"codebook-{level}"] = book.detach().numpy().copy()
    return arrays


def load(network: Network, arrays: dict[str, np.ndarray]) -> None:
    """The opposite of `arrays_of`, where the sizes agree."""
    network.mean, network.scale = torch.from_numpy(arrays["mean"]), torch.from_numpy(arrays["scale"])
    with torch.no_grad():
        for name, stack in (("encoder", network.encoder), ("decoder", network.decoder)):
            linear = [layer for layer in stack if isinstance(layer, nn.Linear)]
            for number, layer in enumerate(linear):
                layer.weight.copy_(torch.from_numpy(arrays[f"{name}-weight-{number}"].T.copy()))
                layer.bias.copy_(torch.from_numpy(arrays[f"{name}-bias-{number}"]))
        for book, found in zip(network.books, named("codebook", arrays), strict=True):
            book.copy_(torch.from_numpy(found))
