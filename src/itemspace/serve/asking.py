"""The endpoints that ask: search, recommend, similar, facets, autocomplete, explain, and their batch forms."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from itemspace.core.catalog import Catalog
from itemspace.core.errors import RequestError, shown
from itemspace.core.hits import Hits
from itemspace.search.rules import Rules
from itemspace.serve import models, ruling
from itemspace.serve.errors import Refusal
from itemspace.serve.rendering import facet_list, hit_list, matched_words, steps
from itemspace.serve.ruling import Ruled
from itemspace.serve.served import SearchQuestion
from itemspace.serve.table import Call
from itemspace.space import Space

MOST_NAMED = 5
"""Unknown IDs that a note names."""
EMPTY = "an empty history: what is popular"
_UNKNOWN = 'user "{}" is unknown: what is popular'


# Checks


def check_most(what: str, value: int, most: int) -> None:
    """Refuse what is larger than this server allows.

    Raises:
        Refusal: 422, with the limit.
    """
    if value > most:
        raise Refusal(422, "too_much", f"{what}: at most {most:,} here, got {value:,}.")


def check_asked(call: Call, *, k: int = 1, offset: int = 0, batch: int = 1, queries: Sequence[str] = ()) -> None:
    """Hold a question to the server's limits, and note in the log what it was.

    Raises:
        Refusal: 422, names the limit.
    """
    limits = call.app.config.limits
    check_most("k", k, limits.max_k)
    check_most("offset", offset, limits.max_offset)
    check_most("entries in the batch", batch, limits.max_batch)
    check_most("hits of the whole batch", k * batch, limits.max_hits)
    check_most("characters of a query", max(map(len, queries), default=0), limits.max_query)
    call.told["k"] = k
    if batch > 1:
        call.told["batch"] = batch
    if queries and call.app.config.logs.queries:
        call.told["query"] = list(queries) if len(queries) > 1 else queries[0]


def check_histories(call: Call, histories: Sequence[Sequence[str]]) -> None:
    """Hold histories to the server's limit."""
    check_most("items in a history", max(map(len, histories), default=0), call.app.config.limits.max_history)


def known_row(catalog: Catalog, item: str) -> int:
    """The row of an item that exists.

    Raises:
        Refusal: 404, there is none, or it has been removed.
    """
    row = int(catalog.ids.find([item])[0])
    if row < 0 or (catalog.live is not None and not catalog.live[row]):
        raise Refusal(404, "unknown_item", f'there is no item "{shown(item)}".')
    return row


def check_recommends(space: Space) -> None:
    """Refuse what needs events of a Space built without.

    Raises:
        Refusal: 409.
    """
    if not recommends(space):
        told = "this Space was built without events, so that it knows nothing of what users did; build it with interactions."
        raise Refusal(409, "no_events", told)


def recommends(space: Space) -> bool:
    """Whether the Space has a recommender."""
    try:
        return space.recommender is not None
    except RequestError:
        return False


# Search


async def search(call: Call) -> dict[str, Any]:
    asked: models.SearchRequest = call.asked
    began = time.perf_counter()
    check_asked(call, k=asked.k, offset=asked.offset, queries=[asked.query])
    rules, one = call.rules if asked.rules else None, (asked, asked.query)

    def run(space: Space, several: list[tuple[models.SearchRequest, str]]) -> list[dict[str, Any]]:
        return _searched(space, several, rules)

    if asked.explain:  # of one question alone
        (answer,) = await call.space.ask(lambda space: run(space, [one]))
    else:
        answer = await call.space.share((_question(asked, asked.query).key, id(rules)), one, run)
    return _timed(answer, began)


async def search_batch(call: Call) -> dict[str, Any]:
    asked: models.SearchBatchRequest = call.asked
    began = time.perf_counter()
    check_asked(call, k=asked.k, offset=asked.offset, batch=len(asked.queries), queries=asked.queries)
    call.app.metrics.batch(call.endpoint.path, len(asked.queries))
    rules = call.rules if asked.rules else None
    several = [(asked, query) for query in asked.queries]
    answers = await call.space.ask(lambda space: _searched(space, several, rules))
    return {"answers": [_timed(answer, began) for answer in answers]}


def _question(asked: models.Search, query: str) -> SearchQuestion:
    return SearchQuestion(
        query,
        k=asked.k,
        where=asked.where,
        by=asked.by,
        facets=tuple(asked.facets) or None,
        sort=tuple(asked.sort) or None,
        offset=asked.offset,
        group_by=asked.group_by,
        explain=asked.explain,
    )


def _searched(space: Space, several: Sequence[tuple[models.Search, str]], rules: Rules | None) -> list[dict[str, Any]]:
    """An answer per question; all have the same options."""
    version = space.version  # read first: the answers know at least of this
    first, queries = several[0][0], [query for _, query in several]
    options = {**vars(_question(first, "")), "query": queries, "explain": first.explain or rules is not None}
    hits = space.search(**options, rules=rules)
    did = [Ruled()] * len(queries) if rules is None else ruling.of_search(hits.explanation, len(queries))
    return [
        _answer(space, hits, asked, query, at, did[at]) | {"version": version}
        for at, (asked, query) in enumerate(several)
    ]


def _answer(space: Space, hits: Hits, asked: models.Search, query: str, request: int, did: Ruled) -> dict[str, Any]:
    found = hit_list(space, hits, asked.columns, request=request, offset=asked.offset)
    total = None if hits.total is None else int(hits.total[request])
    answer: dict[str, Any] = {
        "hits": found,
        "total": total if total is None or total >= 0 else None,
        "facets": {} if hits.facets is None else facet_list(space, hits.facets[request]),
        "notes": [*did.notes],
    }
    if asked.explain:
        rows = hits.rows[request]
        words = matched_words(space, query, rows[rows >= 0].tolist())
        for hit, because in zip(found, words, strict=True):
            hit["because"] = {"words": because, **_because(did, hit)}
        answer["explanation"] = steps(hits.explanation)
    return answer


def _because(did: Ruled, hit: dict[str, Any]) -> dict[str, Any]:
    """What rules did to a hit, where they did."""
    return {"rules": did.items[hit["item"]]} if hit["item"] in did.items else {}


def _timed(answer: dict[str, Any], began: float) -> dict[str, Any]:
    answer["took_ms"] = round((time.perf_counter() - began) * 1000.0, 3)
    return answer


# Recommend


@dataclass(frozen=True)
class _Who:
    """Whom to recommend to: a history, or else a user; and with which options."""

    asked: models.Recommend
    history: list[str] | None
    user: str | None


async def recommend(call: Call) -> dict[str, Any]:
    asked: models.RecommendRequest = call.asked
    began = time.perf_counter()
    check_asked(call, k=asked.k)
    check_histories(call, [asked.history or []])
    if asked.history is None and asked.user is None:
        raise Refusal(422, "invalid", "recommend to whom? Give a history of item IDs, or a user.")
    rules, who = call.rules if asked.rules else None, _Who(asked, asked.history, asked.user)

    def run(space: Space, several: list[_Who]) -> list[dict[str, Any]]:
        return _recommended(space, several, rules)

    if asked.explain:  # of one question alone
        (answer,) = await call.space.ask(lambda space: run(space, [who]))
    else:
        kind = "user" if asked.history is None else "history"
        key = ("recommend", kind, asked.k, asked.where, asked.exclude_seen, id(rules))
        answer = await call.space.share(key, who, run)
    return _timed(answer, began)


async def recommend_batch(call: Call) -> dict[str, Any]:
    asked: models.RecommendBatchRequest = call.asked
    began = time.perf_counter()
    if (asked.histories is None) == (asked.users is None):
        raise Refusal(422, "invalid", "recommend to whom? Give `histories` or `users`.")
    several = [_Who(asked, history, None) for history in asked.histories or ()]
    several += [_Who(asked, None, user) for user in asked.users or ()]
    check_asked(call, k=asked.k, batch=len(several))
    check_histories(call, asked.histories or ())
    call.app.metrics.batch(call.endpoint.path, len(several))
    rules = call.rules if asked.rules else None
    answers = await call.space.ask(lambda space: _recommended(space, several, rules))
    return {"answers": [_timed(answer, began) for answer in answers]}


def _recommended(space: Space, several: Sequence[_Who], rules: Rules | None) -> list[dict[str, Any]]:
    """An answer per history or per user; all have the same options."""
    check_recommends(space)
    version, first, count = space.version, several[0].asked, len(several)
    options: dict[str, Any] = {"k": first.k, "where": first.where, "exclude_seen": first.exclude_seen, "rules": rules}
    options["explain"] = first.explain or rules is not None
    if several[0].history is not None:
        hits, known = _to_histories(space, [who.history or [] for who in several], options)
        popular = [not history for history, _ in known]
        notes = [[*told, *([] if history else [EMPTY])] for history, told in known]
    else:
        users = [who.user or "" for who in several]
        hits = space.recommend(user=users, **options)
        popular = [False] * count
        if (hits.explanation or {}).get("notes"):  # of whom nothing is known
            popular = (space.users.find(users) < 0).tolist()
        notes = [[_UNKNOWN.format(shown(user))] if new else [] for user, new in zip(users, popular, strict=True)]
    did = [Ruled()] * count if rules is None else ruling.of_others(hits.explanation, rules, "recommend", count)
    return [
        {
            "hits": _recommended_hits(space, hits, who.asked, at, did[at]),
            "fallback": "popularity" if popular[at] else None,
            "notes": [*notes[at], *did[at].notes],
            "version": version,
        }
        for at, who in enumerate(several)
    ]


def _to_histories(
    space: Space, histories: list[list[str]], options: dict[str, Any]
) -> tuple[Hits, list[tuple[list[str], list[str]]]]:
    """The answers, and every history without its unknown items, with a note. Most have none: they are looked for only
    where the Space refuses."""
    try:
        return space.recommend(history=histories, **options), [(history, []) for history in histories]
    except RequestError:
        known = [known_history(space.catalog, history) for history in histories]
        if not any(told for _, told in known):
            raise
    return space.recommend(history=[history for history, _ in known], **options), known


def _recommended_hits(
    space: Space, hits: Hits, asked: models.Recommend, request: int, did: Ruled
) -> list[dict[str, Any]]:
    found = hit_list(space, hits, asked.columns, request=request)
    if asked.explain:
        for hit, told in zip(found, hits.explanation["because"][request], strict=True):
            hit["because"] = {"history": _spoke(told["because"]), **_because(did, hit)}
    return found


def _spoke(because: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"item": part["history item"], "added": float(part["added"])} for part in because]


def known_history(catalog: Catalog, history: Sequence[str]) -> tuple[list[str], list[str]]:
    """A history without the items that are unknown, and a note that names them."""
    known = catalog.ids.find(history) >= 0
    if known.all():
        return list(history), []
    lost = [item for item, is_known in zip(history, known.tolist(), strict=True) if not is_known]
    named = ", ".join(f'"{shown(item)}"' for item in lost[:MOST_NAMED])
    more = f" and {len(lost) - MOST_NAMED:,} more" if len(lost) > MOST_NAMED else ""
    kept = [item for item, is_known in zip(history, known.tolist(), strict=True) if is_known]
    return kept, [f"unknown items left out of the history: {named}{more}"]


# The rest


async def similar(call: Call) -> dict[str, Any]:
    asked: models.SimilarRequest = call.asked
    began = time.perf_counter()
    check_asked(call, k=asked.k)
    rules = call.rules if asked.rules else None

    def ask(space: Space) -> dict[str, Any]:
        known_row(space.catalog, asked.item)
        if asked.by == "behavior":
            check_recommends(space)
        options: dict[str, Any] = {"by": asked.by, "k": asked.k, "where": asked.where, "rules": rules}
        hits = space.similar(asked.item, **options, explain=rules is not None)
        notes = [] if rules is None else ruling.of_others(hits.explanation, rules, "similar", 1)[0].notes
        return {"hits": hit_list(space, hits, asked.columns), "notes": notes, "version": space.version}

    return _timed(await call.space.ask(ask), began)


async def facets(call: Call) -> dict[str, Any]:
    asked: models.FacetsRequest = call.asked
    began = time.perf_counter()
    check_asked(call, queries=[asked.query])
    question = SearchQuestion(asked.query, k=1, where=asked.where, facets=tuple(asked.facets))

    def then(space: Space, hits: Hits) -> dict[str, Any]:
        assert hits.facets is not None
        assert hits.total is not None
        counted = facet_list(space, hits.facets[0])
        return {"facets": counted, "total": int(hits.total[0]), "version": space.version}

    return _timed(await call.space.search(question, then), began)


async def explain(call: Call) -> dict[str, Any]:
    asked: models.ExplainRequest = call.asked
    check_asked(call, queries=[asked.query or ""])
    check_histories(call, [asked.history or []])

    def ask(space: Space) -> dict[str, Any]:
        known_row(space.catalog, asked.item)
        if asked.query is not None:
            if asked.history is not None or asked.user is not None:
                raise Refusal(422, "invalid", "explain one answer: that to a query, or else to a history or a user.")
            return _explained(space.explain(asked.item, query=asked.query))
        if asked.history is None and asked.user is None:
            raise Refusal(422, "invalid", "explain an answer to what? Give a query, or else a history or a user.")
        check_recommends(space)
        history, notes = (None, []) if asked.history is None else known_history(space.catalog, asked.history)
        told = space.explain(asked.item, history=history, user=asked.user)
        return _explained(told | {"notes": [*notes, *told["notes"]]})

    return await call.space.ask(ask)


def _explained(told: dict[str, Any]) -> dict[str, Any]:
    """What `Space.explain` tells, under the names of the answer."""
    if "query" in told:
        places = {name: value for name, value in told.items() if name not in ("item", "query", "words")}
        return {
            "item": told["item"],
            "query": told["query"],
            "places": {name: value if isinstance(value, dict) else None for name, value in places.items()},
            "words": told.get("words"),
            "notes": [],
        }
    place = None if told["rank"] is None else {"rank": told["rank"], "score": told["score"]}
    return {
        "item": told["item"],
        "by": told["by"],
        "places": {"recommendation": place},
        "history": _spoke(told["because"]),
        "seen": told["in the history already"],
        "notes": told["notes"],
    }


async def autocomplete(call: Call) -> dict[str, Any]:
    asked: models.AutocompleteRequest = call.asked
    check_asked(call, k=asked.k, queries=[asked.prefix])

    def ask(space: Space) -> dict[str, Any]:
        found = space.suggest(asked.prefix, k=asked.k)
        return {"suggestions": [{"text": one.text, "kind": one.kind, "item": one.item} for one in found]}

    return await call.space.ask(ask)
