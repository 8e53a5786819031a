"""The verbs that ask a Space: search, recommend, similar, explain, suggest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itemspace.core.asking import check_k, selection
from itemspace.core.contracts import Retriever
from itemspace.core.errors import RequestError, nearest
from itemspace.core.hits import Hits
from itemspace.core.ragged import Ragged
from itemspace.core.requests import History, Requests
from itemspace.core.vectors import Dense
from itemspace.search.facets import FacetRequest
from itemspace.search.merchandising import Merchandised, under_rules
from itemspace.search.moves import moved
from itemspace.search.page import PageRequest, answer
from itemspace.search.rulebook import Plan, RuleBook
from itemspace.search.rules import Rules
from itemspace.space import asked as given
from itemspace.space import reasons
from itemspace.space.live import Live
from itemspace.space.lock import ReadWriteLock

if TYPE_CHECKING:
    from itemspace.core.selection import Selection
    from itemspace.core.where import Expression
    from itemspace.search.autocomplete import Suggestion

    Filter = str | Expression | Selection | None
    RulesLike = Rules | str | Path | Sequence[Mapping[str, Any]] | None


class Asking:
    """What answers; `Space` brings the parts."""

    _live: Live
    _lock: ReadWriteLock
    _book: RuleBook | None = None

    if TYPE_CHECKING:

        def retriever(self, by: str | None = None) -> Retriever: ...

        @property
        def recommender(self) -> Any: ...

    def search(
        self,
        query: str | Sequence[str],
        *,
        k: int = 10,
        where: Filter = None,
        by: str | None = None,
        facets: Sequence[str] | FacetRequest | None = None,
        sort: str | Sequence[str] | None = None,
        offset: int = 0,
        group_by: str | None = None,
        explain: bool = False,
        rules: RulesLike = None,
    ) -> Hits:
        """The k best items for each query, among those `where` allows: the filter applies before the cut.

        by: "hybrid" (words and vectors fused), "lexical", "dense", "reranked" (the first of these with its first hits
        reordered by what was learned from clicks), or the "system" it was built with; by default the fullest of these
        that exists. facets: columns counted over everything that matches. sort: columns ("price", "-rating") that order what matches instead of relevance. offset: hits to skip.
        group_by: one hit per value of a column (variants of one product). A blank query lists items by popularity.
        rules: merchandising rules, or their file; with `sort` they only exclude. A pinned item counts as a match.

        Raises:
            FilterError: `where` does not parse or fit. RequestError: an impossible k, offset, sort, facet or `by`.
            RuleError: a rule does not say something applicable.
        """
        check_k(k)
        texts = given.texts(query)
        page = PageRequest(
            limit=k, offset=offset, sort=given.sorting(sort), group_by=group_by, facets=given.facets(facets)
        )
        with self._lock.read():
            blank = not texts[0].strip()
            retriever = self._live.retrievers["browse"] if blank and by is None else self.retriever(by)
            retriever = self._live.retrievers["browse"] if blank else retriever

            def ask(requests: Requests, plan: Plan | None) -> Hits:
                if plan is None:
                    return answer(retriever, requests, page, where)
                plan = plan if page.sort is None else plan.without_moves()
                return answer(Merchandised(retriever, plan), requests, page, where)

            hits = under_rules(self._rules(rules), Requests.texts(texts), "search", ask)
        return hits if explain else replace(hits, explanation=None)

    def recommend(
        self,
        *,
        history: Sequence[str] | Sequence[Sequence[str]] | None = None,
        user: str | Sequence[str] | None = None,
        k: int = 10,
        where: Filter = None,
        exclude_seen: bool = True,
        explain: bool = False,
        rules: RulesLike = None,
    ) -> Hits:
        """The k best items for a history (item IDs, oldest first), a known user, or a batch of either.

        A history given wins over the user's own. An unknown user, or an empty history, gets what is popular, and
        `explanation` says so. What is in the history does not come back unless `exclude_seen` is False. rules:
        merchandising rules, or their file; a pinned item does not come back either, unless its rule says `even_if_seen`.

        Raises:
            RequestError: an item of the history is unknown, or nothing was asked. RuleError: see `search`.
        """
        check_k(k)
        with self._lock.read():
            requests, notes = given.recommendations(self._live, history, user)
            asked = requests.excluding_history() if exclude_seen else requests
            hits = self._ruled(self.recommender, asked, k, where, rules, "recommend")
            told = reasons.recommended(self._live, requests, hits) if explain else None
        explanation: dict[str, Any] | None = {"notes": notes} if notes else None
        if explain:
            explanation = {"notes": notes, "because": told, "rules": _told(hits)}
        return replace(hits, ids=self._live.catalog.ids, explanation=explanation)

    def similar(
        self,
        item: str | Sequence[str],
        *,
        by: str = "text",
        k: int = 10,
        where: Filter = None,
        explain: bool = False,
        rules: RulesLike = None,
    ) -> Hits:
        """Items like each given item: `by` "text" (their words' vectors) or "behavior" (what users did with both).

        rules: merchandising rules, or their file; `explain` says which of them moved what.

        Raises:
            RequestError: the item is unknown, or the Space has no such representation. RuleError: see `search`.
        """
        check_k(k)
        with self._lock.read():
            live = self._live
            names = given.ids(item, "similar to what")
            if not names:
                raise RequestError("similar to what? Give at least one item ID.")
            rows = live.catalog.rows(names)
            itself = Ragged(rows, np.arange(len(rows) + 1))
            if by == "behavior":
                requests = Requests(history=History(itself), exclude=itself)
                hits = self._ruled(self.recommender, requests, k, where, rules, "similar")
            elif by == "text":
                if live.encoder is None or live.dense is None:
                    raise RequestError("this Space has no vectors of words; build it with an encoder.")
                vectors = live.encoder.encode(live.readable(live.catalog.take(rows)), role="item")
                requests = Requests(vector=vectors, exclude=itself)
                hits = self._ruled(Alike(live).bind(live.catalog), requests, k, where, rules, "similar")
            else:
                hint = nearest(given.name(by, "`by`"), ["text", "behavior"])
                raise RequestError(f"similar by `{by}`?{hint} Choose text or behavior.")
        explanation = {"rules": _told(hits)} if explain else None
        return replace(hits, ids=live.catalog.ids, explanation=explanation)

    def explain(
        self,
        item: str,
        *,
        query: str | None = None,
        history: Sequence[str] | None = None,
        user: str | None = None,
    ) -> dict[str, Any]:
        """Why an item answers a query, or is recommended to a history or user: its rank, score, terms, neighbors.

        Raises:
            RequestError: the item is unknown, or neither a query nor a history nor a user is given.
        """
        if (query is None) == (history is None and user is None):
            raise RequestError("explain an answer to what? Give a query, or else a history or a user.")
        names = given.ids(item, "explain which item")
        if len(names) != 1:
            raise RequestError(f"explain takes one item at a time, got {len(names)}.")
        query = None if query is None else given.name(query, "a query to explain")
        with self._lock.read():
            row = int(self._live.catalog.rows(names)[0])
            if query is not None:
                return reasons.of_search(self._live, row, query)
            requests, notes = given.recommendations(self._live, history, user)
            return reasons.of_recommendation(self._live, row, requests, notes)

    def suggest(self, prefix: str, *, k: int = 8, where: Filter = None) -> list[Suggestion]:
        """What someone who typed `prefix` may mean: titles of items and queries that others asked, at most k.

        Every word typed must occur, the last as the beginning of a word; case, accents and one wrong letter in words of
        four or more are forgiven. Popular items and frequent queries come first, as of the build; an item added since is
        suggested at once, a removed one never. where: only titles of items it allows, and no queries.

        Raises:
            RequestError: an impossible k, or no text. FilterError: `where` does not parse or fit.
        """
        check_k(k)
        typed = given.name(prefix, "what to complete")
        with self._lock.read():
            catalog = self._live.catalog
            within = None if where is None else catalog.where(where)
            return self._live.suggestions().suggest(catalog, typed, k, within)

    def _rules(self, rules: RulesLike) -> RuleBook | None:
        """The rules over today's catalogue; the last used are kept with what was compiled of them."""
        if rules is None:
            return None
        book, catalog = self._book, self._live.catalog
        if book is None or book.rules is not rules:
            self._book = book = RuleBook(Rules.load(rules), catalog)
        elif book.catalog is not catalog:
            self._book = book = book.following(catalog)
        return book

    def _ruled(
        self, retriever: Retriever, requests: Requests, k: int, where: Filter, rules: RulesLike, context: Any
    ) -> Hits:
        def ask(some: Requests, plan: Plan | None) -> Hits:
            return (retriever if plan is None else Merchandised(retriever, plan)).search(some, k, where)

        return under_rules(self._rules(rules), requests, context, ask)


class Alike(Retriever):
    """Vectors of items as the question: the items nearest to each."""

    def __init__(self, live: Live) -> None:
        self._index = live.dense

    def search(self, requests: Requests, k: int, where: Filter = None) -> Hits:
        assert self._index is not None
        assert isinstance(requests.vector, Dense)
        assert self.catalog is not None
        within = selection(requests, self.catalog.where(where), self.catalog, len(self.catalog))
        return self._index.search(requests.vector, k, within)


def _told(hits: Hits) -> list[list[dict[str, Any]]]:
    """What rules moved, per request."""
    return [[move.to_json() for move in moves] for moves in moved(hits.explanation, len(hits))]
