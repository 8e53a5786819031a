"""`Task`: requests with known answers. What a split hands to evaluation, the same for search and recommendation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from itemspace.core.hashing import fingerprint
from itemspace.core.judgments import Judgments
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection


@dataclass(frozen=True)
class Task:
    """Requests, the judgments that answer them, and what may be answered.

    candidates: the rows that existed when the requests were made (None: the whole catalogue).
    groups: named labels per request [q] to slice a report by (history length, query group, ...).
    exclude_history: whether what a user already has may come back; published evaluators differ, so reports say which.
    """

    name: str
    requests: Requests
    judgments: Judgments
    candidates: Selection | None = None
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    exclude_history: bool = True

    def __len__(self) -> int:
        return len(self.judgments)

    def take(self, rows: np.ndarray) -> Task:
        """Some of the requests."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return replace(
            self,
            requests=self.requests.take(rows),
            judgments=self.judgments.take(rows),
            candidates=None if self.candidates is None else self.candidates.take(rows),
            groups={name: labels[rows] for name, labels in self.groups.items()},
        )

    def prepared(self) -> Requests:
        """The requests as a retriever gets them: histories excluded from the answers where the task says so."""
        return self.requests.excluding_history() if self.exclude_history else self.requests

    @property
    def fingerprint(self) -> str:
        history = self.requests.history
        return fingerprint(
            self.name,
            self.judgments.fingerprint,
            list(self.requests.text or ()),
            *(() if history is None else (history.items.values, history.items.offsets)),
        )
