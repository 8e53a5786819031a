"""`Work`: what a kind of job does with a chunk, and with all of them in the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itemspace.jobs.chunks import Chunk
from itemspace.jobs.folder import Job

Rows: TypeAlias = "np.ndarray | pa.Table"
"""What a chunk of rows makes: an array [rows, ...] or a table."""


class Work(ABC):
    """One kind of job. An instance lives in each worker, and holds what it opens for as long as chunks come.

    What a chunk makes follows from the job's inputs and the chunk alone: not from other chunks, nor from who works on it.
    """

    def __init__(self, job: Job) -> None:
        self.job = job

    def make(self, chunk: Chunk) -> Rows:
        """The output of a chunk of rows, one entry or more for each."""
        raise NotImplementedError(f"{type(self).__name__} has no chunks of rows")

    def fit(self, chunk: Chunk, folder: Path, scratch: Path) -> None:
        """Write a fitted part into `folder`; `scratch` keeps checkpoints over kills."""
        raise NotImplementedError(f"{type(self).__name__} fits nothing")

    @abstractmethod
    def names(self, chunk: Chunk) -> Sequence[str]:
        """What the rows of a chunk are called, for a message that says which one is to blame."""

    @abstractmethod
    def finish(self) -> dict[str, Any]:
        """Put the result where it belongs, and say what it is. Called again after a kill: the second time changes nothing."""

    def close(self) -> None:
        """Let go of what is open."""
        return

    def write(self, chunk: Chunk, to: Path, scratch: Path) -> None:
        """Make a chunk and write it to the file or folder `to`."""
        if self.job.phase(chunk.phase).form == "folder":
            self.fit(chunk, to, scratch)
            return
        save_rows(self.make(chunk), to)


def save_rows(made: Rows, to: Path) -> None:
    """An array as npy, a table as Parquet."""
    if isinstance(made, pa.Table):
        pq.write_table(made, to)
        return
    with to.open("wb") as file:
        np.save(file, np.ascontiguousarray(made), allow_pickle=False)
