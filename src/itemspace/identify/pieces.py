"""Pieces of codes as features for ranking models: fixed n-grams, or a vocabulary of pieces learned from traffic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.codes import Codes
from itemspace.core.errors import ContractError
from itemspace.core.ragged import Ragged
from itemspace.identify.code_rows import PAD, equal_rows, padded

_LONGEST = 8
"""Levels a code may have to be cut in all ways (2^7 of them)."""


def prefix_grams(codes: Codes, longest: int | None = None) -> tuple[Ragged, int]:
    """The beginnings of every code, of 1 to `longest` symbols: piece numbers per code, and how many pieces there are."""
    matrix = padded(codes)
    depth = min(longest or matrix.shape[1], matrix.shape[1])
    groups, rows, total = [], [], 0
    for level in range(depth):
        there = np.flatnonzero(matrix[:, level] != PAD)
        number = equal_rows(matrix[there, : level + 1])
        groups.append(number + total)
        rows.append(there)
        total += int(number.max(initial=-1)) + 1
    return Ragged.from_groups(np.concatenate(rows), np.concatenate(groups), len(codes)), total


def n_grams(codes: Codes, n: int) -> tuple[Ragged, int]:
    """The n symbols from every place on (with their place): piece numbers per code, and how many pieces there are.

    Source: Singh et al. 2024, section 4.2 (unigram, bigram).
    """
    matrix = padded(codes)
    if not 1 <= n <= matrix.shape[1]:
        raise ContractError(f"pieces of {n} symbols do not fit codes of {matrix.shape[1]} levels.")
    groups, rows, total = [], [], 0
    for start in range(matrix.shape[1] - n + 1):
        there = np.flatnonzero(matrix[:, start + n - 1] != PAD)
        number = equal_rows(matrix[there, start : start + n])
        groups.append(number + total)
        rows.append(there)
        total += int(number.max(initial=-1)) + 1
    return Ragged.from_groups(np.concatenate(rows), np.concatenate(groups), len(codes)), total


@dataclass(frozen=True)
class CodePieces:
    """A vocabulary of pieces: runs of symbols at their place in a code, each with a probability (a unigram model).

    starts, lengths: int64 [v]. symbols: int64 [v, levels], PAD after the piece's end. log_probability: float64 [v].
    Every single symbol that occurred is a piece, so every code seen can be cut; symbols never seen are cut into the piece
    `unknown` (number v).
    """

    starts: np.ndarray
    lengths: np.ndarray
    symbols: np.ndarray
    log_probability: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def unknown(self) -> int:
        """The number of the piece for symbols that are in no other."""
        return len(self)

    @classmethod
    def learn(
        cls, codes: Codes, weights: np.ndarray | None = None, *, size: int = 8_000, rounds: int = 4
    ) -> CodePieces:
        """The `size` pieces under which the codes, weighted by `weights` [codes] (impressions), are most likely.

        Expectation-maximization over all ways to cut a code (at most 2^7), then the pieces that are used least leave, a
        quarter of the surplus at a time; single symbols stay. Frequent codes end as one piece, rare ones as several.
        Source: Kudo 2018 (the unigram model of SentencePiece); on codes, Singh et al. 2024, section 4.3.
        """
        matrix = padded(codes)
        if matrix.shape[1] > _LONGEST:
            raise ContractError(f"codes of more than {_LONGEST} levels cannot be cut in all ways.")
        weight: np.ndarray = np.ones(len(codes)) if weights is None else np.asarray(weights, np.float64)
        _, first, same = np.unique(equal_rows(matrix), return_index=True, return_inverse=True)
        matrix, weight = matrix[first], np.bincount(same.reshape(-1), weight)
        number, starts, lengths, symbols = _candidates(matrix)
        single = lengths == 1
        count = np.zeros(len(starts))
        for (_, _), ids in number.items():
            there = ids >= 0
            count += np.bincount(ids[there], weight[there], minlength=len(starts))
        alive = count > 0
        probability = count / count.sum()
        while True:
            for _ in range(rounds):
                expected = _expected(matrix, weight, number, np.where(alive, probability, 0.0))
                probability = np.maximum(expected, 1e-12 * expected.sum()) / expected.sum()
            surplus = int(alive.sum()) - max(size, int(single.sum()))
            if surplus <= 0:
                break
            used = np.where(alive & ~single, probability, np.inf)
            leaving = np.argsort(used, kind="stable")[: max(1, surplus if surplus < 64 else surplus // 4)]
            alive[leaving] = False
        keep = np.flatnonzero(alive)
        total = probability[keep].sum()
        return cls(starts[keep], lengths[keep], symbols[keep], np.log(probability[keep] / total))

    def cut(self, codes: Codes) -> Ragged:
        """The most likely pieces of every code, in order: piece numbers per code."""
        matrix = padded(codes)
        n, depth = matrix.shape
        number = _known(matrix, self)
        best = np.full((n, depth + 1), -np.inf)
        best[:, 0] = 0.0
        back, piece = np.zeros((n, depth + 1), np.int64), np.full((n, depth + 1), -1, np.int64)
        floor = float(self.log_probability.min(initial=0.0)) - 10.0
        for end in range(1, depth + 1):
            for start in range(end):
                ids = number[start, end - start]
                score = np.where(
                    ids >= 0, self.log_probability[np.maximum(ids, 0)], floor if end - start == 1 else -np.inf
                )
                total = best[:, start] + score
                better = (total > best[:, end]) & (matrix[:, end - 1] != PAD)
                best[better, end], back[better, end] = total[better], start
                piece[better, end] = np.where(ids >= 0, ids, self.unknown)[better]
        at = (matrix != PAD).sum(1)
        owners, found = [], []
        while (at > 0).any():
            going = np.flatnonzero(at > 0)
            owners.append(going)
            found.append(piece[going, at[going]])
            at[going] = back[going, at[going]]
        if not owners:
            return Ragged.empty(n, np.int64)
        return Ragged.from_groups(np.concatenate(owners[::-1]), np.concatenate(found[::-1]), n)


def _candidates(matrix: np.ndarray) -> tuple[dict[tuple[int, int], np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Every run of symbols that occurs: its number per code by (start, length) (-1 past the end), and what it is."""
    depth, total = matrix.shape[1], 0
    number: dict[tuple[int, int], np.ndarray] = {}
    starts, lengths, symbols = [], [], []
    for length in range(1, depth + 1):
        for start in range(depth - length + 1):
            there = np.flatnonzero(matrix[:, start + length - 1] != PAD)
            run = matrix[there, start : start + length]
            _, first, ids = np.unique(equal_rows(run), return_index=True, return_inverse=True)
            full = np.full(len(matrix), -1, np.int64)
            full[there] = ids.reshape(-1) + total
            number[start, length] = full
            what = np.full((len(first), depth), PAD, np.int64)
            what[:, :length] = run[first]
            starts.append(np.full(len(first), start))
            lengths.append(np.full(len(first), length))
            symbols.append(what)
            total += len(first)
    return number, np.concatenate(starts), np.concatenate(lengths), np.concatenate(symbols)


def _expected(
    matrix: np.ndarray, weight: np.ndarray, number: dict[tuple[int, int], np.ndarray], probability: np.ndarray
) -> np.ndarray:
    """How often each piece is used, over all ways to cut every code, by forward and backward sums: [pieces]."""
    n, depth = matrix.shape
    ends = (matrix != PAD).sum(1)
    forward, backward = np.zeros((n, depth + 1)), np.zeros((n, depth + 1))
    forward[:, 0] = 1.0
    backward[np.arange(n), ends] = 1.0

    def of(start: int, length: int) -> np.ndarray:
        ids = number[start, length]
        return np.where(ids >= 0, probability[np.maximum(ids, 0)], 0.0)

    for end in range(1, depth + 1):
        for start in range(end):
            forward[:, end] += forward[:, start] * of(start, end - start)
    for start in range(depth - 1, -1, -1):
        for end in range(start + 1, depth + 1):
            backward[:, start] += backward[:, end] * of(start, end - start)
    whole = forward[np.arange(n), ends]
    expected = np.zeros(len(probability))
    scale = np.where(whole > 0, weight / np.maximum(whole, 1e-300), 0.0)
    for (start, length), ids in number.items():
        there = ids >= 0
        share = scale * forward[:, start] * of(start, length) * backward[:, start + length]
        expected += np.bincount(ids[there], share[there], minlength=len(probability))
    return expected


def _known(matrix: np.ndarray, pieces: CodePieces) -> dict[tuple[int, int], np.ndarray]:
    """The vocabulary's number of every run of every code by (start, length), -1 where it is no piece."""
    depth = matrix.shape[1]
    found: dict[tuple[int, int], np.ndarray] = {}
    for length in range(1, depth + 1):
        for start in range(depth - length + 1):
            mine = np.flatnonzero((pieces.starts == start) & (pieces.lengths == length))
            runs = np.concatenate([pieces.symbols[mine, :length], matrix[:, start : start + length]])
            group = equal_rows(runs)
            table = np.full(int(group.max(initial=-1)) + 1, -1, np.int64)
            table[group[: len(mine)]] = mine
            ids = table[group[len(mine) :]]
            found[start, length] = np.where(matrix[:, start + length - 1] != PAD, ids, -1)
    return found
