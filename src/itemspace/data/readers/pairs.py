"""What readers of pairwise question sets share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.data.frame import Frame
from itemspace.data.paraphrases import retrieval_sets
from itemspace.data.reader import Reading


def paired(
    reader: str,
    path: Path,
    reading: Reading,
    catalog: Catalog,
    column: str,
    left: np.ndarray,
    right: np.ndarray,
    same: np.ndarray,
    **source: object,
) -> Dataset:
    """The dataset of pairs of item rows; `column` holds the question."""
    texts = [text or "" for text in catalog.column(column).to_pylist()]
    distinct = left != right
    try:
        made = retrieval_sets(catalog, texts, left[distinct], right[distinct], same[distinct])
    except DataError as error:
        raise DataError(error.problem, file=path.name) from None
    reading.notes.append(made.note)
    return reading.dataset(path, reader, catalog, queries=made.queries, judgments=made.judgments, source=source)


def first_of(frame: Frame, ids: str, text: str, *, as_id: str, as_text: str) -> Frame:
    """The rows of `frame` in which an ID occurs for the first time, as two columns."""
    codes = np.asarray(frame.column(ids).dictionary_encode().indices)
    first = np.sort(np.unique(codes, return_index=True)[1])
    part = frame.take(first)
    table = pa.table({as_id: part.column(ids), as_text: part.column(text)})
    return Frame(table, frame.file, part.rows)


def joined(one: Frame, other: Frame) -> Frame:
    """The rows of both, of one file."""
    return Frame(pa.concat_tables([one.table, other.table]), one.file, np.concatenate([one.rows, other.rows]))
