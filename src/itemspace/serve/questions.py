"""What is asked of a Space one by one, and how those asked alike are answered together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

if TYPE_CHECKING:
    from itemspace.core.hits import Hits
    from itemspace.space import Space

T = TypeVar("T")
Then: TypeAlias = "Callable[[Space, Hits], T]"
"""Makes of hits, and of the Space they came from, what is wanted."""


@dataclass(frozen=True)
class SearchQuestion:
    """One query and how to answer it; see `Space.search`."""

    query: str
    k: int = 10
    where: str | None = None
    by: str | None = None
    facets: tuple[str, ...] | None = None
    sort: tuple[str, ...] | None = None
    offset: int = 0
    group_by: str | None = None
    explain: bool = False

    @property
    def key(self) -> Hashable:
        """What questions answered together must share."""
        return ("search", replace(self, query=""), not self.query.strip())


@dataclass(frozen=True)
class RecommendQuestion:
    """One history or known user, and how to answer; see `Space.recommend`."""

    history: tuple[str, ...] | None = None
    user: str | None = None
    k: int = 10
    where: str | None = None
    exclude_seen: bool = True
    explain: bool = False

    @property
    def key(self) -> Hashable:
        """What questions answered together must share."""
        kind = "user" if self.history is None else "history" if self.history else "empty"
        return ("recommend", replace(self, history=None, user=None), kind)


def searched(space: Space, questions: Sequence[SearchQuestion]) -> Hits:
    """The answers to questions of one key."""
    first = questions[0]
    return space.search(
        [question.query for question in questions],
        k=first.k,
        where=first.where,
        by=first.by,
        facets=first.facets,
        sort=first.sort,
        offset=first.offset,
        group_by=first.group_by,
        explain=first.explain,
    )


def recommended(space: Space, questions: Sequence[RecommendQuestion]) -> Hits:
    """The answers to questions of one key."""
    first = questions[0]
    if first.history is not None:
        who: dict[str, Any] = {"history": [list(question.history or ()) for question in questions]}
    else:
        who = {"user": None if first.user is None else [question.user for question in questions]}
    return space.recommend(**who, k=first.k, where=first.where, exclude_seen=first.exclude_seen, explain=first.explain)


def made(space: Space, hits: Hits, at: int, then: Then[Any] | None) -> Any:
    """What is wanted of the answer at place `at`."""
    one = hits.take(np.array([at])) if len(hits) > 1 else hits
    return one if then is None else then(space, one)


def notes_of(hits: Hits, user: str | None) -> Any:
    """Of what was said of a batch of users, what is said of one."""
    told = hits.explanation
    if not told or user is None or len(hits) == 1:
        return told
    notes = [note for note in told["notes"] if note.startswith(f'user "{user}" ')]
    return {"notes": notes} if notes else None
