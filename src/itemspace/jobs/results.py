"""Results in their place: written aside, renamed when whole, marked with the job they are of, and read back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itemspace.core.codes import Codes
from itemspace.core.errors import ArtifactError
from itemspace.core.files import fsync_folder, load_array, read_json, remove_tree, write_json_atomic
from itemspace.core.ids import Ids
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.data.staged import IDS, mapped_ids
from itemspace.jobs.folder import Job, sync

ABOUT = "about.json"
_MARK = b"itemspace.job"


def place_folder(job: Job, make: Callable[[Path], dict[str, Any]], note: str = ABOUT) -> dict[str, Any]:
    """Have `make` fill a folder that becomes `job.out` at once; what it says is kept there in the file `note`.

    Raises:
        ArtifactError: something that is not of this job is there.
    """
    if job.out.exists():
        about = read_json(job.out / note) if (job.out / note).exists() else {}
        return dict(_own(job, about))
    aside = job.out.with_name(f".{job.out.name}.{job.key}")
    remove_tree(aside)
    aside.mkdir(parents=True)
    about = {"job": job.key, "kind": job.kind, **make(aside)}
    write_json_atomic(aside / note, about)
    sync(aside)
    aside.rename(job.out)
    fsync_folder(job.out.parent)
    return about


def place_table(job: Job, parts: Iterable[Path]) -> dict[str, Any]:
    """Tables one after another as one Parquet file (where `job.out` ends so), or as a folder of them.

    Raises:
        ArtifactError: something that is not of this job is there.
    """
    if job.out.suffix not in (".parquet", ".pq"):
        # Readers of Parquet folders pass over names that begin with an underscore.
        return place_folder(job, lambda to: _linked(parts, to), "_about.json")
    if job.out.exists():
        kept = (pq.read_schema(job.out).metadata or {}).get(_MARK, b"{}")
        return dict(_own(job, json.loads(kept)))
    aside = job.out.with_name(f".{job.out.name}.{job.key}")
    aside.parent.mkdir(parents=True, exist_ok=True)
    rows, writer = 0, None
    mark = {_MARK: json.dumps({"job": job.key}).encode()}
    for part in parts:
        table = pq.read_table(part)
        schema = table.schema.with_metadata(mark)
        writer = writer or pq.ParquetWriter(aside, schema)
        writer.write_table(table.replace_schema_metadata(mark))
        rows += table.num_rows
    if writer is None:
        raise ArtifactError(f"{job.path}: there is nothing to write.")
    writer.close()
    sync(aside)
    aside.rename(job.out)
    fsync_folder(job.out.parent)
    return {"job": job.key, "rows": rows}


def _linked(parts: Iterable[Path], to: Path) -> dict[str, Any]:
    """Every chunk's table under a name of its own, in order: a second name for the same file where that can be."""
    rows, count = 0, 0
    for count, part in enumerate(parts, 1):
        name = to / f"part-{count - 1:06d}.parquet"
        try:
            os.link(part, name)
        except OSError:  # across disks, or a file system without links
            shutil.copy2(part, name)
        rows += pq.read_metadata(part).num_rows
    return {"rows": rows, "parts": count}


def _own(job: Job, about: dict[str, Any]) -> dict[str, Any]:
    if about.get("job") != job.key:
        raise ArtifactError(
            f"{job.out} is there, and not of this job. Move it away, then: itemspace jobs resume {job.path}"
        )
    return about


def joined_arrays(parts: Iterable[Path], total: int, to: Path) -> np.ndarray:
    """Arrays one after another as one npy file [total, ...], mapped; one part is in memory at a time."""
    out: np.memmap[Any, Any] | None = None
    at = 0
    for part in parts:
        values = load_array(part)
        if out is None:
            out = np.lib.format.open_memmap(to, "w+", values.dtype, (total, *values.shape[1:]))
        out[at : at + len(values)] = values
        at += len(values)
    if out is None or at != total:
        raise ArtifactError(f"{at:,} of {total:,} rows are there to put together.")
    out.flush()
    return out


def read_vectors(folder: str | Path) -> tuple[Ids, Dense]:
    """The IDs and vectors that an encoding job left in `folder`, mapped, in the same order.

    Raises:
        ArtifactError: it holds no vectors.
    """
    home = Path(folder)
    if not (home / "vectors.npy").exists() or not (home / IDS).exists():
        raise ArtifactError(f"{home} holds no vectors: it is not what `itemspace jobs run encode` made.")
    return mapped_ids(home), Dense(load_array(home / "vectors.npy"), VectorSpace(**read_json(home / ABOUT)["space"]))


def read_codes(folder: str | Path) -> tuple[Ids, Codes]:
    """The IDs and codes that a tokenizing job left in `folder`; `codes.item` counts in the IDs' order.

    Raises:
        ArtifactError: it holds no codes.
    """
    home = Path(folder)
    if not (home / "codes.parquet").exists():
        raise ArtifactError(f"{home} holds no codes: it is not what `itemspace jobs run tokenize` made.")
    about, table = read_json(home / ABOUT), pq.read_table(home / "codes.parquet")
    values, offsets = _lists(table.column("code"))
    items = np.asarray(table.column("row"), np.int32)
    return mapped_ids(home), Codes(values, offsets, items, tuple(about["level_sizes"]), about["version"])


def _lists(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Flat values and offsets of a column of lists."""
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    offsets = np.asarray(whole.offsets, np.int64)
    return np.asarray(whole.values)[offsets[0] : offsets[-1]], offsets - offsets[0]
