"""int8 copies of vectors and queries that know what the rounding took, so that a scan over them can be certified.

A vector x is kept as whole numbers v and a scale s; the length of what is lost, |x - s v|, is kept beside. For a query
y, kept likewise as (w, t):

    |y.x - s t (w.v)| <= |y| |x - s v| + |y - t w| |s v|

by the Cauchy-Schwarz inequality, and w.v is a product of whole numbers, which has no rounding of its own.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from itemspace.core.vectors import VectorSpace
from itemspace.index.rows import RowMap, grown

TOP = 127
WIDEST = 60_000
"""Dimensions above which sums of products (at most 127^2 each) could leave half of an int32."""
_ROWS = 2048
"""Vectors narrowed at once: their float32 values stay near the cache."""
_SAMPLE = 4096
_UP = np.float32(1 + 2.0**-16)
"""Lengths are rounded up by this: they are bounds, and come out of float32 sums."""


class Table(Protocol):
    """What a copy is made of."""

    space: VectorSpace
    rows: RowMap

    def block(self, start: int, stop: int) -> np.ndarray: ...
    def take(self, slots: np.ndarray) -> np.ndarray: ...
    def norms(self, slots: np.ndarray | slice) -> np.ndarray: ...


@functools.cache
def fast_int8() -> bool:
    """Whether this machine multiplies int8 matrices in hardware (avx512_vnni) and torch does so exactly.

    Imports torch only where the hardware may.
    """
    flags = Path("/proc/cpuinfo")
    if flags.exists() and "avx512_vnni" not in flags.read_text():
        return False
    import torch

    supported = getattr(torch.cpu, "_is_vnni_supported", None)
    if supported is None or not supported() or not hasattr(torch, "_int_mm"):
        return False
    rng = np.random.default_rng(0)
    a, b = rng.integers(-128, 128, (65, 391), dtype=np.int8), rng.integers(-128, 128, (33, 391), dtype=np.int8)
    # Instructions that add neighbors in 16 bits overflow on extreme values.
    a[0], a[1], b[0], b[1] = 127, -128, 127, -128
    found = torch._int_mm(torch.from_numpy(a), torch.from_numpy(b).T).numpy()
    return bool(np.array_equal(found, a.astype(np.int64) @ b.T.astype(np.int64)))


@dataclass(frozen=True)
class Narrow:
    """The first `slots` vectors of a table as int8, a quarter of their float32 size.

    values: int8 [capacity, d], d rounded up to a multiple of 4. lost: float32 [capacity], an upper bound of |x - scale * values|. length: float32
    [capacity], of |scale * values|. chosen: slots there were when the scale was chosen. For cosine of vectors that are
    not normalized, x is the vector scaled to length 1. finite: whether the bounds hold (values near the limits of float32
    have squares that are not finite).

    A slot's vector never changes, so a copy never becomes wrong, only short: `grow` gives one that covers more. The two
    share memory, and the older one stays valid for whoever is reading it.
    """

    values: np.ndarray
    lost: np.ndarray
    length: np.ndarray
    scale: float
    slots: int
    chosen: int
    finite: bool = True

    @classmethod
    def of(cls, table: Table) -> Narrow:
        """A copy of every vector of `table`."""
        n, d = table.rows.slots, table.space.dimension
        empty = np.zeros((n, padded(d)), np.int8), np.empty(n, np.float32), np.empty(n, np.float32)
        return cls(*empty, scale=_scale(table), slots=0, chosen=n).grown(table)

    def grown(self, table: Table) -> Narrow:
        """A copy that covers what was added since; made anew when the table has doubled, for the scale may not fit."""
        n = table.rows.slots
        if n == self.slots:
            return self
        if self.slots and n > 2 * self.chosen:
            return Narrow.of(table)
        values, lost, length = (grown(a, self.slots, n - self.slots) for a in (self.values, self.lost, self.length))
        for start in range(self.slots, n, _ROWS):
            stop = min(start + _ROWS, n)
            x = directions(table, table.block(start, stop), table.norms(slice(start, stop)))
            whole, lost[start:stop], length[start:stop] = rounded(x, self.scale)
            values[start:stop, : x.shape[1]] = whole
            values[start:stop, x.shape[1] :] = 0
        added = slice(self.slots, n)
        finite = bool(np.isfinite(lost[added]).all() and np.isfinite(length[added]).all())
        return Narrow(values, lost, length, self.scale, n, self.chosen, self.finite and finite)


def padded(dimension: int) -> int:
    """The width of a copy: hardware sums four products at once (and torch's product of one column is wrong)."""
    return -(-dimension // 4) * 4


def directions(table: Table, vectors: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """float32 [n, d] whose inner product with a query orders as the metric does (but for euclidean's squared norms)."""
    x = np.asarray(vectors, np.float32)
    if table.space.metric == "cosine" and not table.space.normalized:
        return x * np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)[:, None]
    return x


def rounded(x: np.ndarray, scale: float | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whole numbers int8 [n, d] near x / scale (cut off at 127), and bounds [n] of what is lost and of their length.

    scale: one for all or one per row [n, 1].
    """
    whole = x * (1.0 / np.asarray(scale)).astype(np.float32)
    np.rint(whole, out=whole)
    np.clip(whole, -TOP, TOP, out=whole)
    values = whole.astype(np.int8)
    whole *= np.asarray(scale, np.float32)
    length = np.sqrt(np.einsum("nd,nd->n", whole, whole)) * _UP
    np.subtract(x, whole, out=whole)
    return values, np.sqrt(np.einsum("nd,nd->n", whole, whole)) * _UP, length


def _scale(table: Table) -> float:
    """The scale that loses least on a sample: cutting off the rare great values leaves finer steps for all the others."""
    n = table.rows.slots
    slots = np.arange(0, n, max(1, n // _SAMPLE))
    x = directions(table, table.take(slots), table.norms(slots))
    greatest = float(np.abs(x).max(initial=0.0))
    if greatest == 0.0 or not np.isfinite(greatest):
        return 1.0
    scales = [greatest / TOP * share for share in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)]
    # Bounds are used for groups of vectors, so one vector that lost much costs more than itself.
    lost = [float(np.quantile(rounded(x, scale)[1], 0.999)) for scale in scales]
    # A float32, so that steps mean the same in every product.
    return float(np.float32(max(scales[int(np.argmin(lost))], float(np.finfo(np.float32).tiny))))
