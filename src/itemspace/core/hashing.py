"""Stable 64-bit hashes of external IDs and fingerprints of content, the same on every machine and in every process.

Python's own `hash` is salted per process, so nothing durable may use it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

ROW_ORDER_SALT = 0x1
TIE_SALT = 0x2

_BLOCK_BYTES = 1 << 22
_VALUES = 10_000


def splitmix64(x: np.ndarray) -> np.ndarray:
    """The splitmix64 finalizer (Steele, Lea and Flood 2014): a bijective mix of uint64 values, elementwise."""
    with np.errstate(over="ignore"):
        z = x + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def hash_strings(strings: Sequence[str] | pa.Array | pa.ChunkedArray, *, salt: int = 0) -> np.ndarray:
    """A 64-bit hash of each string [n], vectorized over the bytes.

    Tabulation hashing: every (position, byte) pair is mixed on its own and the mixes are summed, so no two byte
    positions cancel; the sum is mixed again with the length and the salt. Nulls hash as the empty string.
    """
    if isinstance(strings, pa.ChunkedArray):
        parts = [hash_strings(chunk, salt=salt) for chunk in strings.chunks]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint64)
    array = strings if isinstance(strings, pa.Array) else pa.array(strings, pa.large_string())
    array = array.cast(pa.large_string())
    n = len(array)
    if n == 0:
        return np.zeros(0, np.uint64)
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + n + 1]
    data_buffer = array.buffers()[2]
    data = (
        np.frombuffer(data_buffer, np.uint8) if data_buffer is not None and data_buffer.size else np.zeros(0, np.uint8)
    )
    out = np.zeros(n, np.uint64)
    start = 0
    while start < n:
        # Whole strings, at most about 4 MB of bytes at a time: the temporaries are 16 bytes a byte.
        stop = int(np.searchsorted(offsets, offsets[start] + _BLOCK_BYTES, side="right")) - 1
        stop = min(max(stop, start + 1), n)
        low, high = int(offsets[start]), int(offsets[stop])
        lengths = np.diff(offsets[start : stop + 1])
        if high > low:
            position = np.arange(low, high, dtype=np.int64) - np.repeat(offsets[start:stop], lengths)
            mixed = splitmix64((position.astype(np.uint64) << np.uint64(8)) | data[low:high].astype(np.uint64))
            sums = np.concatenate(([np.uint64(0)], np.cumsum(mixed, dtype=np.uint64)))
            local = (offsets[start : stop + 1] - low).astype(np.int64)
            with np.errstate(over="ignore"):
                out[start:stop] = sums[local[1:]] - sums[local[:-1]]
        with np.errstate(over="ignore"):
            out[start:stop] += splitmix64(lengths.astype(np.uint64))
        start = stop
    return splitmix64(out ^ splitmix64(np.full(1, salt, np.uint64)))


def fingerprint(*parts: Any) -> str:
    """A short hex fingerprint of logical content: arrays, Arrow tables and plain JSON-able values.

    Arrays count by dtype, shape and bytes; tables by schema and column values (not by chunking).
    """
    digest = hashlib.sha256()
    for part in parts:
        _update(digest, part)
    return digest.hexdigest()[:16]


def _update(digest: Any, part: Any) -> None:
    if isinstance(part, np.ndarray):
        digest.update(f"a{part.dtype.str}{part.shape}".encode())
        digest.update(np.ascontiguousarray(part).data)
    elif isinstance(part, pa.Table):
        digest.update(f"t{part.num_rows}".encode())
        for name in part.column_names:
            digest.update(name.encode() + str(part.schema.field(name).type).encode())
            _update(digest, part.column(name))
    elif isinstance(part, (pa.Array, pa.ChunkedArray)):
        _update_column(digest, part.chunks if isinstance(part, pa.ChunkedArray) else [part], part.type)
    else:
        digest.update(json.dumps(part, default=str, sort_keys=True).encode())


def _update_column(digest: Any, chunks: Sequence[pa.Array], kind: pa.DataType) -> None:
    """The values of a column that may be larger than memory: a piece at a time, to the digest of the whole."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        _update(digest, hash_strings(pa.chunked_array(chunks, kind)))
        _update(digest, _joined([np.asarray(chunk.is_null()) for chunk in chunks], bool))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        _update(digest, _joined([np.asarray(chunk.is_null()) for chunk in chunks], bool))
        _update(digest, _joined([np.asarray(chunk.fill_null(0)) for chunk in chunks], kind.to_pandas_dtype()))
    else:
        digest.update(b"[")
        first = True
        for chunk in chunks:
            for start in range(0, len(chunk), _VALUES):
                values = chunk.slice(start, _VALUES).to_pylist()
                text = json.dumps(values, default=str, sort_keys=True)[1:-1]
                digest.update((text if first else ", " + text).encode())
                first = False
        digest.update(b"]")


def _joined(parts: list[np.ndarray], kind: Any) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, kind)
