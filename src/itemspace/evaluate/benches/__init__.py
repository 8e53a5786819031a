"""Benches: one table per family, every arm on the same split at the same budget, baselines included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from itemspace.core.config import load_object
from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError, nearest
from itemspace.core.report import Report

FAMILIES = {
    "recommend": "itemspace.evaluate.benches.recommend:bench",
    "search": "itemspace.evaluate.benches.search:bench",
}


def run_bench(
    family: str,
    data: str | Dataset,
    *,
    seeds: Iterable[int] = (0,),
    arms: Sequence[str] | None = None,
    **options: Any,
) -> Report:
    """The table of a family on one dataset (a name, a folder, or one that is read already).

    Raises:
        RequestError: no such family or arm.
        DataError: the data has not what the family needs.
    """
    if family not in FAMILIES:
        raise RequestError(f"no bench `{family}`.{nearest(family, FAMILIES)} Benches: {', '.join(FAMILIES)}.")
    bench: Callable[..., Report] = load_object(FAMILIES[family])
    dataset = data if isinstance(data, Dataset) else Dataset.read(data)
    return bench(dataset, seeds=tuple(seeds), arms=arms, **options)


def chosen(known: Iterable[str], arms: Sequence[str] | None) -> list[str]:
    """The arms to run, in the bench's order.

    Raises:
        RequestError: an arm that the bench does not have.
    """
    known = list(known)
    for arm in arms or ():
        if arm not in known:
            raise RequestError(f"no arm `{arm}`.{nearest(arm, known)} Arms: {', '.join(known)}.")
    return [arm for arm in known if not arms or arm in arms]
