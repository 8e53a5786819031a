"""Known users and what they did, kept current as events are logged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from itemspace.core.files import load_array
from itemspace.core.ids import Ids
from itemspace.core.interactions import Interactions
from itemspace.core.ragged import Ragged
from itemspace.core.requests import History


class Histories:
    """Item rows and times per known user: a base of packed arrays, and what was logged since.

    A logged event is merged by time where both it and the user's history carry times, and appended otherwise, so a
    known user's next recommendation already knows of it.
    """

    def __init__(self, users: Ids, items: Ragged, times: Ragged | None) -> None:
        self.users, self._items, self._times = users, items, times
        self._recent: dict[int, tuple[list[int], list[int]]] = {}

    @classmethod
    def of(cls, interactions: Interactions | None) -> Self:
        if interactions is None:
            return cls(Ids([], kind="user"), Ragged.empty(0), None)
        return cls(interactions.users, interactions.histories, interactions.history_times)

    def __len__(self) -> int:
        return len(self.users)

    @property
    def has_times(self) -> bool:
        return self._times is not None

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Every event as a pair: user row [m], item row [m]."""
        users, items = [self._items.groups], [np.asarray(self._items.values, np.int64)]
        for user, (logged, _) in self._recent.items():  # users who did something since the build
            users.append(np.full(len(logged), user))
            items.append(np.asarray(logged, np.int64))
        return np.concatenate(users), np.concatenate(items)

    def counts(self, items: int) -> np.ndarray:
        """Events per item row, int64 [items]."""
        return np.bincount(self.pairs()[1], minlength=items)[:items]

    def append(self, users: Sequence[str], items: np.ndarray, times: np.ndarray) -> None:
        """Record events: external user IDs [n], item rows [n], Unix seconds [n]."""
        names = pa.array([str(u) for u in users], pa.large_string())
        rows = self.users.find(names)
        if (rows < 0).any():
            fresh = names.filter(pa.array(rows < 0)).unique()
            self.users = self.users.extended(fresh)
            rows = self.users.find(names)
        for user, item, time in zip(rows.tolist(), items.tolist(), times.tolist(), strict=True):
            recent_items, recent_times = self._recent.setdefault(user, ([], []))
            recent_items.append(item)
            recent_times.append(time)

    def take(self, users: np.ndarray) -> History:
        """The histories of user rows [q], oldest event first; an unknown user (-1) has none."""
        base = np.where((users >= 0) & (users < len(self._items)), users, -1)
        known = np.flatnonzero(base >= 0)
        items = [np.zeros(0, np.int32)] * len(users)
        times = [np.zeros(0, np.int64)] * len(users)
        for i in known.tolist():  # a request batch, not the user base
            items[i] = self._items[int(base[i])]
            times[i] = np.zeros(len(items[i]), np.int64) if self._times is None else self._times[int(base[i])]
        for i, user in enumerate(users.tolist()):
            if user in self._recent:
                more_items, more_times = self._recent[user]
                items[i] = np.concatenate([items[i], np.asarray(more_items, np.int32)])
                times[i] = np.concatenate([times[i], np.asarray(more_times, np.int64)])
                if self._times is not None:
                    order = np.argsort(times[i], kind="stable")
                    items[i], times[i] = items[i][order], times[i][order]
        flat = Ragged.from_lists(items)
        return History(flat, flat.with_values(np.concatenate(times)) if self._times is not None and times else None)

    def save(self, folder: Path) -> None:
        """The base arrays (what was logged since lives in the store)."""
        np.save(folder / "items.npy", self._items.values)
        np.save(folder / "offsets.npy", self._items.offsets)
        if self._times is not None:
            np.save(folder / "times.npy", self._times.values)
        table = pa.table({"user": self.users.values.slice(0, len(self._items))})
        with pa.ipc.new_file(folder / "users.arrow", table.schema) as writer:
            writer.write_table(table)

    @classmethod
    def open(cls, folder: Path) -> Self:
        with pa.memory_map(str(folder / "users.arrow")) as source:
            users = Ids(pa.ipc.open_file(source).read_all().column("user"), kind="user")
        items = Ragged(load_array(folder / "items.npy"), load_array(folder / "offsets.npy", mmap=False))
        path = folder / "times.npy"
        times = items.with_values(load_array(path)) if path.exists() else None
        return cls(users, items, times)
