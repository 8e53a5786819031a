"""From what a caller gives (external IDs, users) to a batch of requests over rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from itemspace.core.errors import RequestError
from itemspace.core.ragged import Ragged
from itemspace.core.requests import History, Requests
from itemspace.space.live import Live


def recommendation_requests(
    live: Live, history: Sequence[Any] | None, user: str | Sequence[str] | None
) -> tuple[Requests, list[str]]:
    """Requests for a history, a batch of histories, a known user or a batch of users, and what is to be told of them.

    Raises:
        RequestError: an unknown item, or nobody to recommend to.
    """
    notes: list[str] = []
    if history is not None:
        batch = [history] if not history or isinstance(history[0], str) else list(history)
        lengths = [len(one) for one in batch]
        flat = live.catalog.rows([name for one in batch for name in one])
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        past = History(Ragged(flat.astype(np.int32), offsets))
    elif user is not None:
        names = [user] if isinstance(user, str) else [str(name) for name in user]
        rows = live.histories.users.find(names)
        past = live.histories.take(rows)
        unknown = [name for name, row in zip(names, rows.tolist(), strict=True) if row < 0]
        notes += [f'user "{name}" is unknown: what is popular' for name in unknown]
    else:
        raise RequestError("recommend to whom? Give a history of item IDs, or a user.")
    if len(past) == 0:
        raise RequestError("an empty batch: give at least one history or user.")
    if history is not None and any(length == 0 for length in past.items.lengths.tolist()):
        notes.append("an empty history: what is popular")
    return Requests(history=past), notes
