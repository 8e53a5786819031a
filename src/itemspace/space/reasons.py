"""Why an item came: the query words it shares, its place in each ranking, the history items that spoke for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from itemspace.core.errors import RequestError
from itemspace.core.hits import Hits
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.space.live import Live

MOST = 3
"""Reasons told per answer."""


def of_search(live: Live, row: int, query: str) -> dict[str, Any]:
    """An item's rank and score for a query in every retriever, and the words that matched."""
    requests = Requests.texts([query])
    told: dict[str, Any] = {"item": live.catalog.ids[row], "query": query}
    for name, retriever in live.retrievers.items():
        if name == "browse":
            continue
        hits = retriever.search(requests, len(live.catalog))
        at = np.flatnonzero(hits.rows[0] == row)
        if len(at):
            told[name] = {"rank": int(at[0]) + 1, "score": float(hits.scores[0, at[0]])}
        else:
            told[name] = "does not match"
    if live.words is not None:
        explain = getattr(live.words[1], "explain", None)
        if explain is not None and (live.catalog.live is None or live.catalog.live[row]):
            told["words"] = explain(query, row)
    return told


def recommended(live: Live, requests: Requests, hits: Hits) -> list[list[dict[str, Any]]]:
    """Per request and answer: the history items that added most to its score."""
    explain = getattr(live.recommender, "explain", None)
    names = live.catalog.ids
    if explain is None:
        return [[{"item": name, "because": []} for name in names.decode(rows[rows >= 0])] for rows in hits.rows]
    because = explain(requests, hits.rows)
    out = []
    for request, rows in enumerate(hits.rows):  # what is shown, not the catalogue
        out.append(
            [
                {
                    "item": names[row],
                    "because": [
                        {"history item": names[past], "added": added}
                        for past, added in because.top(request, column, MOST)
                    ],
                }
                for column, row in enumerate(rows.tolist())
                if row >= 0
            ]
        )
    return out


def of_recommendation(live: Live, row: int, requests: Requests, notes: list[str]) -> dict[str, Any]:
    """An item's rank and score for a history, and what in the history spoke for it."""
    recommender = live.recommender
    if recommender is None:
        raise RequestError("this Space was built without events; it recommends nothing to explain.")
    hits = recommender.search(requests, len(live.catalog), Selection.all(len(live.catalog)))
    told: dict[str, Any] = {"item": live.catalog.ids[row], "by": type(recommender).__name__, "notes": notes}
    at = np.flatnonzero(hits.rows[0] == row)
    told |= {"rank": int(at[0]) + 1, "score": float(hits.scores[0, at[0]])} if len(at) else {"rank": None}
    history = requests.history
    told["in the history already"] = bool(history is not None and (history.items[0] == row).any())
    one = Hits(np.array([[row]], np.int32), np.zeros((1, 1), np.float32))
    told["because"] = recommended(live, requests.take(np.array([0])), one)[0][0]["because"]
    return told
