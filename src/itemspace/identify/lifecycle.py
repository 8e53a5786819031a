"""`Identities`: the codes of a catalogue over its life. Items come and go, a refit keeps as many codes as it can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self, cast

import numpy as np
from scipy.optimize import linear_sum_assignment

from itemspace.core.codes import Codes
from itemspace.core.contracts import ItemTokenizer
from itemspace.core.errors import ContractError
from itemspace.core.files import load_arrays, read_json, save_arrays, write_json_atomic
from itemspace.core.keeping import open_part, save_part
from itemspace.core.seeding import RNG
from itemspace.core.vectors import Vectors
from itemspace.identify.code_rows import PAD, joined, open_codes, padded, save_codes, taken_rows
from itemspace.identify.quantizer import Quantizer

_LARGEST = 4_096
"""Levels of more symbols are not matched: the assignment grows with the cube of their number."""


class Assigning(Protocol):
    """A tokenizer that is told which codes other items have; all of this room's are."""

    def assign(self, representations: Vectors, *, taken: Codes | None = None) -> Codes: ...


@dataclass(frozen=True)
class Migration:
    """From one version of codes to the next, item by item.

    rows: int32 [n], the items that have a code in both. before, after: their codes, in that order. matched: per level, the
    old name of each new symbol, as they were matched (empty where symbols could not be matched).
    """

    rows: np.ndarray
    before: Codes
    after: Codes
    matched: tuple[np.ndarray, ...] = ()

    @classmethod
    def between(cls, before: Codes, after: Codes, matched: tuple[np.ndarray, ...] = ()) -> Self:
        """The migration of the items that both have a code for."""
        rows = np.intersect1d(before.item, after.item)
        old, new = (taken_rows(codes, _in_order(codes, rows)) for codes in (before, after))
        return cls(rows, old, new, matched)

    @property
    def kept(self) -> np.ndarray:
        """Whose code stayed: bool [n]."""
        old, new = padded(self.before), padded(self.after)
        depth = max(old.shape[1], new.shape[1])
        old, new = (np.pad(m, ((0, 0), (0, depth - m.shape[1])), constant_values=PAD) for m in (old, new))
        return np.asarray((old == new).all(1))

    @property
    def kept_prefixes(self) -> tuple[float, ...]:
        """The share of items whose first 1, 2, ... symbols stayed."""
        old, new = padded(self.before), padded(self.after)
        depth = min(old.shape[1], new.shape[1])
        same = np.logical_and.accumulate(old[:, :depth] == new[:, :depth], axis=1)
        return tuple(float(share) for share in same.mean(0)) if len(same) else ()

    def to_json(self) -> dict[str, Any]:
        """Counts, for a manifest."""
        kept = self.kept
        return {
            "items": len(self.rows),
            "kept": int(kept.sum()),
            "kept_prefixes": list(self.kept_prefixes),
            "before": self.before.version,
            "after": self.after.version,
        }


@dataclass(frozen=True)
class Identities:
    """Every code this version of the tokenizer gave, to items that are live or gone.

    A code is never given to another item while the version lasts, not even when its item is gone: a model trained on it
    would take one for the other. A refit begins a new version and frees them.

    codes: one per item (or more), `codes.item` the catalogue's rows. live: bool [codes]. number: 1, 2, ... per refit.
    """

    tokenizer: ItemTokenizer
    codes: Codes
    live: np.ndarray
    number: int = 1

    @classmethod
    def start(cls, tokenizer: ItemTokenizer, representations: Vectors, rows: np.ndarray | None = None) -> Self:
        """The first codes, by a fitted `tokenizer`. rows: int32 [n], the catalogue's rows (default 0, 1, 2, ...)."""
        codes = tokenizer.assign(representations)
        given = codes if rows is None else replace(codes, item=np.asarray(rows, np.int32)[codes.item])
        return cls(tokenizer, given, np.ones(len(given), bool))

    @property
    def live_codes(self) -> Codes:
        """The codes of items that are there."""
        return taken_rows(self.codes, np.flatnonzero(self.live))

    def add(self, representations: Vectors, rows: np.ndarray) -> Self:
        """New items get codes that no item has or had; the tokenizer stays as it is.

        Rows that are known keep the code they have, whatever their vectors are now, and are live again.
        """
        rows = np.asarray(rows, np.int32)
        if len(rows) != len(representations):
            raise ContractError(f"{len(representations)} representations for {len(rows)} rows.")
        if len(np.unique(rows)) < len(rows):
            raise ContractError("a row is given twice.")
        live = self.live | np.isin(self.codes.item, rows)
        new = np.flatnonzero(~np.isin(rows, self.codes.item))
        if len(new) == 0:
            return replace(self, live=live)
        made = cast(Assigning, self.tokenizer).assign(representations.take(new), taken=self.codes)
        made = replace(made, item=rows[new][made.item])
        return replace(self, codes=joined(self.codes, made), live=np.concatenate([live, np.ones(len(made), bool)]))

    def remove(self, rows: np.ndarray) -> Self:
        """Items leave; their codes stay taken."""
        return replace(self, live=self.live & ~np.isin(self.codes.item, rows))

    def refit(
        self, representations: Vectors, rows: np.ndarray, *, warm: bool = True, rng: RNG = 0
    ) -> tuple[Self, Migration]:
        """Fit the tokenizer anew to the items there are now, and keep as many codes as that allows.

        warm: begin from the codebooks there are; otherwise from nothing. New symbols are then matched to old ones, level by
        level, among the items whose earlier levels were matched, so that most items keep theirs (an optimal assignment);
        an item whose levels are the same keeps its whole code. Tokenizers whose symbols cannot be renamed (trees, words)
        keep the codes that come out the same.
        """
        rows = np.asarray(rows, np.int32)
        old = self.tokenizer
        new = type(old)(old.config)
        held = _in_order(self.codes, rows)
        if (
            isinstance(old, Quantizer)
            and isinstance(new, Quantizer)
            and len(self.codes) == len(np.unique(self.codes.item))
        ):
            new.fit(representations, rng=rng, warm=old if warm else None)
            codes, maps, renamed = _refitted(old, new, representations, rows, held, self.codes)
            tokenizer: ItemTokenizer = renamed
        else:
            tokenizer, maps = new.fit(representations, rng=rng), ()
            codes = tokenizer.assign(representations)
            codes = replace(codes, item=rows[codes.item])
        made = replace(self, tokenizer=tokenizer, codes=codes, live=np.ones(len(codes), bool), number=self.number + 1)
        return made, Migration.between(self.codes, codes, maps)

    def save(self, folder: Path) -> None:
        """Write into `folder`, which exists."""
        save_part(self.tokenizer, folder / "tokenizer")
        (folder / "codes").mkdir()
        save_codes(self.codes, folder / "codes")
        save_arrays(folder, live=self.live)
        write_json_atomic(folder / "identities.json", {"format": 1, "number": self.number})

    @classmethod
    def open(cls, folder: Path) -> Self:
        """What `save` wrote."""
        live = load_arrays(folder, mmap=False)["live"]
        number = int(read_json(folder / "identities.json")["number"])
        return cls(open_part(folder / "tokenizer"), open_codes(folder / "codes"), live, number)


def _in_order(codes: Codes, rows: np.ndarray) -> np.ndarray:
    """The position of each row's (first) code, -1 where it has none."""
    known, first = np.unique(codes.item, return_index=True)
    at = np.searchsorted(known, rows)
    there = (
        (at < len(known)) & (known[np.minimum(at, len(known) - 1)] == rows) if len(known) else np.zeros(len(rows), bool)
    )
    return np.where(there, first[np.minimum(at, max(len(known) - 1, 0))] if len(known) else -1, -1)


def _refitted(
    old: Quantizer, new: Quantizer, items: Vectors, rows: np.ndarray, held: np.ndarray, codes: Codes
) -> tuple[Codes, tuple[np.ndarray, ...], Quantizer]:
    """Codes by `new`, its symbols named after those of `old` they match; codes whose levels are the same are kept."""
    known = np.flatnonzero(held >= 0)
    before = old.levels(items.take(known)) if _same_space(old, items) else None
    after = new.levels(items)
    maps: tuple[np.ndarray, ...] = ()
    if before is not None and before.shape[1] == after.shape[1] and old.level_sizes == new.level_sizes:
        maps = matched_symbols(before, after[known], new.level_sizes)
        try:
            new = new.renamed(maps)
            after = np.stack([names[after[:, level]] for level, names in enumerate(maps)], axis=1)
        except ContractError:  # symbols with a meaning of their own, such as those of FSQ
            maps = ()
        same = (before == after[known]).all(1)
    else:
        same = np.zeros(len(known), bool)
    keep = known[same]
    kept = taken_rows(codes, held[keep])
    kept = replace(kept, item=rows[keep], version=new.version)
    rest = np.setdiff1d(np.arange(len(rows)), keep)
    if len(rest) == 0:
        return kept, maps, new
    made = new.assign(items.take(rest), taken=kept if len(kept) else None)
    made = replace(made, item=rows[rest][made.item])
    return (joined(kept, made) if len(kept) else made), maps, new


def _same_space(tokenizer: Quantizer, items: Vectors) -> bool:
    return getattr(items, "space", None) == tokenizer._space


def matched_symbols(before: np.ndarray, after: np.ndarray, sizes: Sequence[int]) -> tuple[np.ndarray, ...]:
    """For every level the old name of each new symbol (a permutation), so that most items keep their symbols.

    before, after: int [n, levels], codes of the same items under the old and the new fit. A level is matched by the items
    whose earlier levels are the same under the names found so far. Exact for each level (Kuhn 1955), not for all at once.
    """
    alive = np.ones(len(before), bool)
    maps = []
    for level, size in enumerate(sizes):
        if size > _LARGEST:
            names = np.arange(size)
        else:
            pairs = before[alive, level].astype(np.int64) * size + after[alive, level]
            counts = np.bincount(pairs, minlength=size * size).reshape(size, size)
            # Among equal sums the symbol keeps its number.
            old, new = linear_sum_assignment(2.0 * counts + np.eye(size) / (size + 1), maximize=True)
            names = np.empty(size, np.int64)
            names[new] = old
        maps.append(names)
        alive &= names[after[:, level]] == before[:, level]
    return tuple(maps)
