"""Codes from files: what this room writes, a matrix, and the index files that published tokenizers leave."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from itemspace.core.codes import Codes
from itemspace.core.errors import DataError
from itemspace.core.files import load_array, read_json
from itemspace.identify.code_rows import PAD, from_padded, open_codes

_TOKEN = re.compile(r"^<?[A-Za-z]*_?(\d+)>?$")


def read_codes(path: Path) -> Codes:
    """Codes from a folder that `save_codes` wrote, an `.npy` matrix [items, levels] (-1 past a code's end), or a `.json`
    of lists by item: numbers, or tokens such as "<a_12>" (LC-Rec, LETTER, MiniOneRec). Items count from 0 in their order.

    Raises:
        DataError: it is none of these, or holds something else.
    """
    if path.is_dir():
        if not (path / "codes.json").exists():
            raise DataError(f"{path} is neither a Space nor a folder of codes.", hint="Give a Space, .npy or .json.")
        return open_codes(path)
    if not path.exists():
        raise DataError(f"{path} does not exist.", hint="Check the path.")
    if path.suffix == ".npy":
        return _of_matrix(load_array(path, mmap=False), path)
    if path.suffix == ".json":
        return _of_matrix(_listed(read_json(path), path), path)
    raise DataError(f"{path}: codes are read from a Space, a folder, .npy or .json.")


def _listed(value: object, path: Path) -> np.ndarray:
    rows = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) and row for row in rows):
        raise DataError("codes are lists of symbols by item.", file=str(path))
    depth = max(len(row) for row in rows)
    flat = [_number(symbol, path) for row in rows for symbol in row]
    lengths = np.array([len(row) for row in rows])
    out = np.full((len(rows), depth), PAD, np.int64)
    out[np.arange(depth) < lengths[:, None]] = flat
    return out


def _number(symbol: object, path: Path) -> int:
    if isinstance(symbol, int) and not isinstance(symbol, bool) and symbol >= 0:
        return symbol
    found = _TOKEN.match(symbol) if isinstance(symbol, str) else None
    if found is None:
        raise DataError(f'"{symbol}" is not a symbol: a number from 0 on, or a token such as <a_12>.', file=str(path))
    return int(found.group(1))


def _of_matrix(matrix: np.ndarray, path: Path) -> Codes:
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.integer) or len(matrix) == 0 or matrix.min() < PAD:
        raise DataError("codes are a matrix [items, levels] of whole numbers.", file=str(path))
    ended = matrix == PAD
    if ended[:, 0].any() or (ended[:, :-1] & ~ended[:, 1:]).any():
        raise DataError("-1 stands only past the end of a code.", file=str(path))
    sizes = [int(size) for size in matrix.max(0) + 1]
    return from_padded(matrix.astype(np.int64), np.arange(len(matrix)), sizes)
