"""Metrics of classes: predicted labels against true ones, both whole numbers from 0."""

from __future__ import annotations

import numpy as np

from itemspace.metrics.kernels import divide


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How often class i was called j: int64 [classes, classes] from labels [n]."""
    pairs = np.asarray(truth, np.int64) * classes + np.asarray(predicted, np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def micro_f1(table: np.ndarray) -> float:
    """F1 of all decisions together; with one label per example it is the share of right ones. 0 of nothing."""
    return float(np.trace(table) / max(int(table.sum()), 1))


def macro_f1(table: np.ndarray) -> float:
    """The mean F1 of the classes that occur, in truth or in prediction (as scikit-learn's `average="macro"`)."""
    right, truth, called = np.diag(table), table.sum(1), table.sum(0)
    occurs = (truth + called) > 0
    f1 = divide(2.0 * right, (truth + called).astype(np.float64))
    return float(f1[occurs].mean()) if occurs.any() else 0.0
