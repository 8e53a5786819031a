"""Prompts from histories: what a user did, in the catalogue's words, within a budget of characters."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.errors import RequestError
from itemspace.core.requests import Requests

_MOST = 160
"""Characters kept of one title: longer ones are descriptions."""


def titles(catalog: Catalog, column: str | None = None) -> list[str]:
    """One line per item: `column` (default: the first text column, else the ID), spaces and breaks made single spaces."""
    column = column or next(iter(catalog.schema.columns("text")), catalog.schema.id)
    return [" ".join(text.split())[:_MOST] for text in catalog.texts([column])]


def history_lines(requests: Requests, names: Sequence[str], *, characters: int = 2000) -> list[str]:
    """Per request its history, one item per line, oldest first; the newest are kept where `characters` run out.

    Lines are "- title", with "(event)" after it where events are known. A line is kept whole or not at all.

    Raises:
        RequestError: the requests have no history.
    """
    if requests.history is None:
        raise RequestError(f"a prompt needs requests with history; these have {', '.join(sorted(requests.columns))}.")
    history = requests.history
    told = [f"- {names[row]}" for row in history.items.values.tolist()]
    if history.events is not None and history.event_names:
        known = [history.event_names[e] if e >= 0 else "" for e in history.events.values.tolist()]
        told = [f"{line} ({event})" if event else line for line, event in zip(told, known, strict=True)]
    # Characters from each line to the end of its history, line breaks counted: kept while they fit.
    offsets, lengths = history.items.offsets, np.array([len(line) + 1 for line in told], np.int64)
    total = np.concatenate(([0], np.cumsum(lengths)))
    groups = history.items.groups
    kept = total[offsets[1:]][groups] - total[:-1] <= characters
    first = offsets[1:] - np.bincount(groups[kept], minlength=len(history))
    return ["\n".join(told[a:b]) for a, b in zip(first.tolist(), offsets[1:].tolist(), strict=True)]


def ranking_prompts(
    requests: Requests,
    candidates: np.ndarray,
    catalog: Catalog,
    *,
    column: str | None = None,
    characters: int = 2000,
) -> list[str]:
    """Per request a prompt that asks to order its candidates [q, c] (-1 for none), numbered from 1."""
    names = titles(catalog, column)
    histories = history_lines(requests, names, characters=characters)
    queries = requests.text or ("",) * len(requests)
    return [
        _ranking(past, query, [names[row] for row in rows if row >= 0])
        for past, query, rows in zip(histories, queries, candidates.tolist(), strict=True)
    ]


def _ranking(past: str, query: str, names: list[str]) -> str:
    numbered = "\n".join(f"[{number}] {name}" for number, name in enumerate(names, start=1))
    asked = f"They now look for: {query}\n\n" if query else ""
    return (
        f"A customer chose these items, oldest first:\n{past or '(nothing yet)'}\n\n{asked}"
        f"Candidates:\n{numbered}\n\n"
        "Order the candidates by how likely the customer is to choose them next, the likeliest first. "
        "Answer with their numbers only, like [2] > [1]."
    )


def parse_ranking(answer: str, candidates: int) -> list[int]:
    """The candidates' positions (from 0) in the order of an answer like "[2] > [1]"; every candidate occurs once.

    Numbers out of range and repeats are dropped; candidates the answer leaves out follow in their own order.
    """
    named = re.findall(r"\[(\d{1,6})\]", answer) or re.findall(r"\d{1,6}", answer)
    order = dict.fromkeys(int(number) - 1 for number in named if 1 <= int(number) <= candidates)
    return [*order, *(at for at in range(candidates) if at not in order)]
