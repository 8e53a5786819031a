"""Codes for every item: the tokenizer fitted once, then assigned chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itemspace.core.contracts import ItemTokenizer
from itemspace.core.errors import ContractError, RequestError
from itemspace.core.files import as_path, load_array, read_json, write_json_atomic
from itemspace.core.hashing import fingerprint
from itemspace.core.ids import Ids
from itemspace.core.keeping import open_part, save_part
from itemspace.core.seeding import derive
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.data.staged import mapped_ids, write_ids
from itemspace.jobs.chunks import Chunk, Phase
from itemspace.jobs.folder import Job, job_folder
from itemspace.jobs.inputs import is_space
from itemspace.jobs.results import place_folder, read_vectors
from itemspace.jobs.work import Work
from itemspace.recipe import Part
from itemspace.space import Space
from itemspace.space.build import VECTORS

CHUNK_ROWS = 65_536
TOKENIZER = "hierarchical-k-means"
SAMPLE = 200_000
"""Most vectors that a tokenizer is fitted on."""
_PROBE = 2_048


def plan_tokenize(
    source: str | Path | Space,
    out: str | Path,
    *,
    tokenizer: str | Mapping[str, Any] | Part = TOKENIZER,
    vectors: str = VECTORS,
    seed: int = 0,
    sample: int = SAMPLE,
    chunk_rows: int = CHUNK_ROWS,
    job: str | Path | None = None,
) -> Job:
    """A job that gives every item of `source` its codes.

    source: the folder of an encoding job, or a Space, of which the store's vectors named `vectors` are taken. tokenizer: a
    part by name with its options. sample: the most vectors it is fitted on. out: a folder to be made (`read_codes`).

    A tokenizer that settles collisions between items sees all of them in one chunk; the others go chunk by chunk.

    Raises:
        RequestError: there are no vectors. RecipeError: no such tokenizer, or an option it does not have.
    """
    home = job_folder(out, job)
    part = (
        tokenizer
        if isinstance(tokenizer, Part)
        else Part.parse({"name": tokenizer} if isinstance(tokenizer, str) else dict(tokenizer))
    )
    made: ItemTokenizer = part.make("tokenizers")
    whole = getattr(made.config, "collisions", "allow") != "allow"
    if sample < 2:
        raise RequestError(f"a tokenizer is fitted on at least 2 vectors, got sample={sample}.")
    ids, found = _vectors(source, vectors)
    if len(ids) == 0:
        raise RequestError("there is no vector to tokenize.")
    options = {
        "tokenizer": {"name": part.name, **part.options},
        "seed": seed,
        "sample": sample,
        "chunk_rows": chunk_rows,
    }

    def prepare(folder: Path) -> Sequence[Phase]:
        np.save(folder / "vectors.npy", found.values)
        write_ids(ids, folder)
        write_json_atomic(folder / "space.json", found.space.to_json())
        size = len(ids) if whole else chunk_rows
        return [Phase("fit", 1, 1, ("tokenizer",), "folder"), Phase("assign", len(ids), size, form="parquet")]

    key = [fingerprint(ids.values), fingerprint(np.asarray(found.values)), found.space.to_json()]
    return Job.plan(home, Tokenize.PATH, key, options, as_path(out), prepare)


def _vectors(source: Any, name: str) -> tuple[Ids, Dense]:
    """IDs and vectors, live items only."""
    if not is_space(source) and not isinstance(source, Space):
        return read_vectors(source)
    opened = source if isinstance(source, Space) else Space.open(source)
    try:
        if name not in opened._store.vector_names():
            known = ", ".join(opened._store.vector_names()) or "none"
            raise RequestError(f"{opened.path} keeps no vectors named `{name}`; it has: {known}.")
        rows, values = opened._store.vectors(name)
        space = VectorSpace(name, values.shape[1])
        dense = opened.retrievers.get("dense")
        if name == VECTORS and dense is not None:
            space = dense.encoder.space  # type: ignore[attr-defined]
        return Ids(opened.catalog.ids.values.take(pa.array(rows.astype(np.int64)))), Dense(values, space)
    finally:
        if opened is not source:
            opened.close()


class Tokenize(Work):
    """Vectors to codes."""

    PATH = "itemspace.jobs.tokenizing:Tokenize"

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        values = load_array(job.inputs / "vectors.npy")
        self._vectors = Dense(values, VectorSpace(**read_json(job.inputs / "space.json")))
        self._ids = mapped_ids(job.inputs)
        self._tokenizer: ItemTokenizer | None = None

    @property
    def tokenizer(self) -> ItemTokenizer:
        """The fitted tokenizer."""
        if self._tokenizer is None:
            made: ItemTokenizer = open_part(self.job.output(self.job.phase("fit")[0]))
            self._tokenizer = made
        return self._tokenizer

    def fit(self, chunk: Chunk, folder: Path, scratch: Path) -> None:
        options = self.job.options
        tokenizer: ItemTokenizer = Part.parse(options["tokenizer"]).make("tokenizers")
        drawn = self._vectors
        if len(drawn) > options["sample"]:
            draw = derive(options["seed"], "tokenizer sample")
            drawn = drawn.take(np.sort(draw.choice(len(drawn), options["sample"], replace=False)))
        tokenizer = tokenizer.fit(drawn, rng=derive(options["seed"], "tokenizer"))
        if len(self.job.phase("assign")) > 1:
            self._check_each_alone(tokenizer)
        save_part(tokenizer, folder)

    def _check_each_alone(self, tokenizer: ItemTokenizer) -> None:
        """Refuse a tokenizer whose codes for an item depend on which others come with it.

        Raises:
            ContractError: its codes of the first vectors differ when half of them are given.
        """
        some = self._vectors.take(np.arange(min(_PROBE, len(self._vectors))))
        half = len(some) // 2
        together = coded(tokenizer, some, 0)
        apart = pa.concat_tables(
            [
                coded(tokenizer, some.take(np.arange(half)), 0),
                coded(tokenizer, some.take(np.arange(half, len(some))), half),
            ]
        )
        if not together.equals(apart.combine_chunks()) and together.to_pydict() != apart.to_pydict():
            raise ContractError(
                f"{type(tokenizer).__name__} gives an item other codes in other company: it cannot go chunk by chunk. Give "
                f"all in one (chunk_rows={len(self._vectors)}, --chunk {len(self._vectors)})."
            )

    def make(self, chunk: Chunk) -> pa.Table:
        part = self._vectors.take(np.arange(chunk.start, chunk.stop))
        return coded(self.tokenizer, part, chunk.start)

    def names(self, chunk: Chunk) -> list[str]:
        return [str(one) for one in self._ids.values.slice(chunk.start, len(chunk)).to_pylist()]

    def finish(self) -> dict[str, Any]:
        return place_folder(self.job, self._folder)

    def _folder(self, to: Path) -> dict[str, Any]:
        tables = [pq.read_table(path) for path in self.job.outputs("assign")]
        told = dict(tables[0].schema.metadata or {})
        table = pa.concat_tables(tables)
        names = self._ids.values.take(pa.array(np.asarray(table.column("row"), np.int64)))
        pq.write_table(table.add_column(0, "item", names), to / "codes.parquet")
        write_ids(self._ids, to)
        save_part(self.tokenizer, to / "tokenizer")
        sizes = [int(size) for size in told[b"level_sizes"].decode().split(",")]
        return {
            "rows": len(self._ids),
            "codes": table.num_rows,
            "level_sizes": sizes,
            "version": told[b"version"].decode(),
        }


def coded(tokenizer: ItemTokenizer, vectors: Dense, first: int) -> pa.Table:
    """Codes as rows in item order: `row` counted from `first`, and `code`, its levels. Level sizes go with the schema."""
    codes = tokenizer.assign(vectors)
    order = np.argsort(codes.item, kind="stable")
    lengths = np.diff(codes.offsets)[order]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    at = np.repeat(codes.offsets[:-1][order] - offsets[:-1], lengths) + np.arange(int(offsets[-1]))
    levels = pa.ListArray.from_arrays(pa.array(offsets), pa.array(codes.values[at].astype(np.int32)))
    table = pa.table({"row": pa.array(codes.item[order].astype(np.int32) + np.int32(first)), "code": levels})
    sizes = ",".join(str(size) for size in codes.level_sizes)
    return table.replace_schema_metadata({b"level_sizes": sizes.encode(), b"version": codes.version.encode()})
