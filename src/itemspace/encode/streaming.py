"""Catalogues larger than memory to vectors: a window of items at a time, vectors yielded or written as they come."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Encoder
from itemspace.core.errors import ContractError
from itemspace.core.ids import Ids
from itemspace.core.vectors import Dense

WINDOW = 4096
"""Items encoded at once: enough that sorting them by length leaves little padding, few megabytes of vectors."""


def encode_chunks(encoder: Encoder, chunks: Iterable[Catalog], *, window: int = WINDOW) -> Iterator[Dense]:
    """One `Dense` [len(chunk), d] per chunk, in order, encoded `window` items at a time.

    Small chunks are encoded together and large ones in parts, so the size of chunks does not decide the speed. At most
    `window` items of small chunks, or one large chunk, and their vectors are held. Equal to encoding each chunk within
    what the encoder allows a batch to move a vector.

    Raises:
        ContractError: the encoder does not make dense vectors.
    """
    held: list[Catalog] = []
    for chunk in chunks:
        if held and sum(map(len, held)) + len(chunk) > window:
            yield from _together(encoder, held, window)
            held = []
        held.append(chunk)
    if held:
        yield from _together(encoder, held, window)


def _together(encoder: Encoder, held: list[Catalog], window: int) -> Iterator[Dense]:
    joined = held[0] if len(held) == 1 else _joined(held)
    values = np.empty((len(joined), encoder.space.dimension), np.float32)
    start = 0
    for part in joined.chunks(window):
        made = encoder.encode(part, role="item")
        if not isinstance(made, Dense):
            raise ContractError(f"{type(encoder).__name__} makes {type(made).__name__}, not Dense vectors.")
        values[start : start + len(part)] = made.values
        start += len(part)
    bounds = np.cumsum([len(chunk) for chunk in held])[:-1]
    for rows in np.split(values, bounds):
        yield Dense(rows, encoder.space)


def _joined(held: list[Catalog]) -> Catalog:
    table = pa.concat_tables([chunk.table for chunk in held])
    return Catalog(table, held[0].schema, Ids(table.column(held[0].schema.id).combine_chunks()))


def encode_to_file(
    encoder: Encoder, chunks: Iterable[tuple[Catalog, np.ndarray]], total: int, out: Path | str, *, window: int = WINDOW
) -> Dense:
    """The vectors of a streamed catalogue as an `.npy` file [total, d], answered as a memory map.

    chunks: (items, rows int32 [len(items)]) as `StreamedCatalog.chunks` gives them; each vector goes to its row. Rows no
    chunk names stay zero. The file appears when it is whole. To resume after a kill give a `CachedEncoder`.

    Raises:
        ContractError: the encoder does not make dense vectors.
    """
    aside = Path(f"{out}.tmp")
    shape = (total, encoder.space.dimension)
    values = np.lib.format.open_memmap(aside, "w+", np.float32, shape)
    waiting: list[np.ndarray] = []  # rows of the chunks that were read and not yet yielded

    def items() -> Iterator[Catalog]:
        for part, rows in chunks:
            waiting.append(rows)
            yield part

    for made in encode_chunks(encoder, items(), window=window):
        values[waiting.pop(0)] = made.values
    values.flush()
    del values
    os.replace(aside, str(out))
    return Dense(np.load(str(out), mmap_mode="r"), encoder.space)
