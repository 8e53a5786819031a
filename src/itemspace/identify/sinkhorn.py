"""Balanced assignment by entropic transport: every item wants its nearest symbol, every symbol its fair share of items."""

from __future__ import annotations

import numpy as np


def sinkhorn(costs: np.ndarray, *, epsilon: float, iterations: int = 50, free: np.ndarray | None = None) -> np.ndarray:
    """The log of the transport plans between items and symbols, float64 [..., m, s].

    costs [..., m, s]: how far each item is from each symbol; they are moved to [-1, 1] first, so that `epsilon` means the
    same at every scale. Every item has mass 1, every symbol m / s (m / the number of `free` ones [..., s]).

    Source: Cuturi 2013, algorithm 1, in logarithms; for codes, Zheng et al. 2024 (LC-Rec), section 3.1.
    """
    free = np.ones((*costs.shape[:-2], costs.shape[-1]), bool) if free is None else free
    kept = np.where(free[..., None, :], costs, np.nan)
    low, high = np.nanmin(kept, axis=(-2, -1), keepdims=True), np.nanmax(kept, axis=(-2, -1), keepdims=True)
    middle, reach = (low + high) / 2, np.maximum((high - low) / 2, 1e-12)
    log = np.where(free[..., None, :], -(costs - middle) / reach / epsilon, -np.inf).astype(np.float64)
    share = np.log(costs.shape[-2] / np.maximum(free.sum(-1), 1))[..., None, None]
    for _ in range(iterations):
        log = log - _log_sum(log, -1)
        columns = _log_sum(log, -2)
        closed = ~np.isfinite(columns)
        log = np.where(closed, -np.inf, log - np.where(closed, 0.0, columns) + share)
    return log - _log_sum(log, -1)


def _log_sum(values: np.ndarray, axis: int) -> np.ndarray:
    most = values.max(axis, keepdims=True)
    safe = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(values - safe).sum(axis, keepdims=True)) + safe
