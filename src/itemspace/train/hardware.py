"""What the machine multiplies fast."""

from __future__ import annotations

import functools
from pathlib import Path

import torch


@functools.cache
def fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (avx512_bf16 or amx); without it bfloat16 is slower than float32."""
    capability = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    if capability is not None:
        return bool(capability())
    flags = Path("/proc/cpuinfo")
    return flags.exists() and any(name in flags.read_text() for name in ("avx512_bf16", "amx_bf16"))


def product_dtype(precision: str) -> torch.dtype:
    """The dtype of large products: `precision` is "float32", "bfloat16" or "auto" (bfloat16 where it is fast)."""
    if precision == "auto":
        return torch.bfloat16 if fast_bfloat16() else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
