"""Vectors already computed, kept by what they were computed from: resumable after a kill, shared between builds."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.catalog import Catalog, join_columns
from itemspace.core.config import load_object
from itemspace.core.contracts import Encoder, Role
from itemspace.core.errors import ContractError
from itemspace.core.hashing import fingerprint, hash_strings, splitmix64
from itemspace.core.progress import track
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.encode.fields import valid_text

_CHUNK = 4096


class VectorCache:
    """Append-only shards of (key, vector) under `folder`, one folder per vector space and role.

    A shard is two files, written aside, synced and renamed: vectors first, keys last. A shard without its keys, or cut
    short, is ignored, so a kill loses at most the chunk being written. Several processes may append to one folder.
    """

    def __init__(self, folder: Path | str, space: VectorSpace, role: Role) -> None:
        self.folder = Path(folder) / f"{fingerprint(space.to_json())}-{role}"
        self.dimension = space.dimension
        self._shards: list[np.ndarray] = []
        self._keys = np.zeros((0, 2), np.uint64)
        self._place = np.zeros((0, 2), np.int64)
        for path in sorted(self.folder.glob("*.keys.npy")):
            self._read(path)

    def __len__(self) -> int:
        return len(self._keys)

    def _read(self, path: Path) -> None:
        try:
            keys = np.load(path)
            vectors = np.load(path.with_name(path.name.replace(".keys.", ".vectors.")), mmap_mode="r")
        except (OSError, ValueError, EOFError):
            return  # cut short: its texts are encoded again
        if keys.ndim == 2 and vectors.shape == (len(keys), self.dimension):
            self._adopt(keys, vectors)

    def _adopt(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        place = np.stack([np.full(len(keys), len(self._shards)), np.arange(len(keys))], axis=1)
        self._shards.append(vectors)
        keys, place = np.concatenate([self._keys, keys]), np.concatenate([self._place, place])
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        self._keys, self._place = keys[order], place[order]

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Where each key uint64 [n, 2] is kept, -1 where it is not."""
        if len(self) == 0:
            return np.full(len(keys), -1)
        at = np.searchsorted(self._keys[:, 0], keys[:, 0])
        found = np.full(len(keys), -1)
        open_ = np.arange(len(keys))
        while len(open_):  # once, but for keys that share their first half
            open_ = open_[at[open_] < len(self)]
            open_ = open_[self._keys[at[open_], 0] == keys[open_, 0]]
            hit = self._keys[at[open_], 1] == keys[open_, 1]
            found[open_[hit]] = at[open_[hit]]
            open_ = open_[~hit]
            at[open_] += 1
        return found

    def get(self, found: np.ndarray) -> np.ndarray:
        """The vectors float32 [n, d] at places that `find` gave."""
        shard, row = self._place[found].T
        out = np.empty((len(found), self.dimension), np.float32)
        for number in np.unique(shard).tolist():
            mine = shard == number
            out[mine] = self._shards[number][row[mine]]
        return out

    def append(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Keep `vectors` [n, d] under `keys` [n, 2]; durable on return."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{len(self._shards):06d}-{secrets.token_hex(4)}"
        _write(self.folder / f"{name}.vectors.npy", np.asarray(vectors, np.float32))
        _write(self.folder / f"{name}.keys.npy", keys)
        self._adopt(keys, np.load(self.folder / f"{name}.vectors.npy", mmap_mode="r"))


def _write(path: Path, values: np.ndarray) -> None:
    aside = path.with_suffix(".tmp")
    with aside.open("wb") as file:
        np.save(file, values)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def content_keys(encoder: Encoder, inputs: Catalog | Requests) -> np.ndarray:
    """A 128-bit key uint64 [n, 2] of what `encoder` reads of each input.

    Of requests that is the columns it consumes; of items the columns its config names (`columns`, `image`), else all that
    hold words or, where it consumes pictures, pictures. A picture's path counts with its file's size and time.
    """
    keys = np.zeros((len(inputs), 2), np.uint64)
    for name, values in _contents(encoder, inputs):
        # The second hash sees every byte one place later: both agreeing by accident takes a 128-bit coincidence.
        shifted = pc.binary_join_element_wise(
            pa.scalar("#", pa.large_string()), values, pa.scalar("", pa.large_string())
        )
        both = np.stack([hash_strings(values), hash_strings(shifted)], axis=1)
        keys = splitmix64(keys ^ splitmix64(both ^ hash_strings([name])[0]))
    return keys


def _contents(encoder: Encoder, inputs: Catalog | Requests) -> Iterator[tuple[str, pa.Array]]:
    if isinstance(inputs, Requests):
        for name in encoder.consumes:
            column = getattr(inputs, name)
            if column is not None:
                yield name, pa.array([_spelled(value) for value in column], pa.large_string())
        return
    columns = list(
        getattr(encoder.config, "columns", ()) or (inputs.text_columns() if "text" in encoder.consumes else ())
    )
    if "image" in encoder.consumes:
        image = getattr(encoder.config, "image", None)
        columns += [image] if image else inputs.schema.columns("image")
    root = Path(getattr(encoder.config, "root", None) or ".")
    for name in columns:
        if inputs.schema[name] in ("image", "audio"):
            found = inputs.column(name).to_pylist()
            values = [_spelled(root / value if isinstance(value, str) and value else value) for value in found]
        else:
            values = join_columns(inputs.table, [name])
        yield name, pa.array(values, pa.large_string())


def _spelled(value: Any) -> str:
    """A request's value as a string that differs when the value does; a path stands for the file as it is now."""
    if isinstance(value, np.ndarray):
        return fingerprint(value)
    if isinstance(value, (bytes, bytearray)):
        return fingerprint(np.frombuffer(value, np.uint8))
    if isinstance(value, Path):
        told = value.stat() if value.exists() else None
        return f"{value}:{told.st_size}:{told.st_mtime_ns}" if told else str(value)
    return "" if value is None else valid_text(str(value))


class CachedEncoder(Encoder):
    """`encoder`, remembering every vector under `folder`: what was encoded once, in whatever catalogue, is read back.

    Inputs are encoded `chunk_size` at a time and kept as they come, so a build that was killed continues where it was.
    Only dense vectors are kept. Equal inputs of one batch are encoded once.
    """

    def __init__(self, encoder: Encoder, folder: Path | str, *, chunk_size: int = _CHUNK) -> None:
        super().__init__()
        self.encoder, self.folder, self.chunk_size = encoder, Path(folder), chunk_size
        self.consumes = encoder.consumes  # type: ignore[misc]  # what it answers is its encoder's to say
        self._caches: dict[tuple[str, Role], VectorCache] = {}

    @property
    def space(self) -> VectorSpace:
        return self.encoder.space

    def fit(self, catalog: Catalog, *, rng: RNG = 0) -> Self:
        self.encoder = self.encoder.fit(catalog, rng=rng)
        return self

    def cache(self, role: Role) -> VectorCache:
        """The vectors kept for the encoder as it is now."""
        key = (self.space.encoder, role)
        if key not in self._caches:
            self._caches[key] = VectorCache(self.folder, self.space, role)
        return self._caches[key]

    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Dense:
        """Vectors float32 [n, d], kept ones read back.

        Raises:
            ContractError: the encoder does not make dense vectors.
        """
        out = np.empty((len(inputs), self.space.dimension), np.float32)
        start = 0
        for part in _chunks(inputs, self.chunk_size):
            out[start : start + len(part)] = self._encode_chunk(part, role)
            start += len(part)
        return Dense(out, self.space)

    def _encode_chunk(self, part: Catalog | Requests, role: Role) -> np.ndarray:
        cache = self.cache(role)
        keys = content_keys(self.encoder, part)
        found = cache.find(keys)
        missing = np.flatnonzero(found < 0)
        if len(missing):
            fresh, first = np.unique(keys[missing], axis=0, return_index=True)
            vectors = self.encoder.encode(part.take(missing[first]), role=role)
            if not isinstance(vectors, Dense):
                raise ContractError(
                    f"{type(self.encoder).__name__} makes {type(vectors).__name__}; only Dense is kept."
                )
            cache.append(fresh, vectors.values)
            found = cache.find(keys)
        return cache.get(found)

    def save(self, folder: Path) -> None:
        inner = folder / "encoder"
        inner.mkdir()
        self.encoder.save(inner)
        told = {"encoder": self.encoder.path(), "folder": str(self.folder), "chunk_size": self.chunk_size}
        (folder / "cached.json").write_text(json.dumps(told, indent=1))

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = json.loads((folder / "cached.json").read_text())
        encoder: Encoder = load_object(told["encoder"]).open(folder / "encoder")
        return cls(encoder, told["folder"], chunk_size=told["chunk_size"])


def encode_catalog(
    encoder: Encoder,
    catalog: Catalog,
    *,
    cache: Path | str | None = None,
    out: Path | str | None = None,
    chunk_size: int = _CHUNK,
) -> Dense:
    """Vectors of all items [n, d], `chunk_size` at a time, with progress.

    cache: a folder to keep them in by content (see `CachedEncoder`). out: an `.npy` file to write them to; the answer is
    then a memory map of it, so neither the texts nor the vectors need to fit in memory.

    Raises:
        ContractError: the encoder does not make dense vectors.
    """
    if cache is not None:
        encoder = CachedEncoder(encoder, cache, chunk_size=chunk_size)
    space, shape = encoder.space, (len(catalog), encoder.space.dimension)
    aside = None if out is None else Path(f"{out}.tmp")
    values = np.empty(shape, np.float32) if aside is None else np.lib.format.open_memmap(aside, "w+", np.float32, shape)
    chunks = catalog.chunks(chunk_size)
    start = 0
    for part in track(chunks, "encoding items", total=-(-len(catalog) // chunk_size)):
        vectors = encoder.encode(part, role="item")
        if not isinstance(vectors, Dense):
            raise ContractError(f"{type(encoder).__name__} makes {type(vectors).__name__}, not Dense vectors.")
        values[start : start + len(part)] = vectors.values
        start += len(part)
    if aside is not None:
        assert isinstance(values, np.memmap)
        values.flush()
        os.replace(aside, str(out))
        values = np.load(str(out), mmap_mode="r")
    return Dense(values, space)


def _chunks(inputs: Catalog | Requests, size: int) -> Iterator[Catalog | Requests]:
    return iter(inputs.batches(size)) if isinstance(inputs, Requests) else inputs.chunks(size)
