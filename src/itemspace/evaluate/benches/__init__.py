"""Benches: one table per family, every arm on the same split at the same budget, baselines included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from itemspace.core.config import load_object
from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError, nearest
from itemspace.core.report import Report

FAMILIES = {
    "recommend": "itemspace.evaluate.benches.recommend:bench",
    "search": "itemspace.evaluate.benches.search:bench",
    "beir": "itemspace.evaluate.benches.beir:bench",
    "esci": "itemspace.evaluate.benches.esci:bench",
    "mrtydi": "itemspace.evaluate.benches.mrtydi:bench",
    "indexes": "itemspace.evaluate.benches.indexes:bench",
    "fanns": "itemspace.evaluate.benches.fanns:bench",
}
READING = ("beir", "esci", "mrtydi", "fanns")
"""Families that read their own published format, and take what `--data` names as it is."""


def run_bench(
    family: str,
    data: Any,
    *,
    seeds: Iterable[int] = (0,),
    arms: Sequence[str] | None = None,
    **options: Any,
) -> Report:
    """The table of a family on one dataset (a name, a folder, or one that is read already; for beir, several; for indexes
    and fanns, also their own `VectorData` and `Attributed`).

    Raises:
        RequestError: no such family or arm.
        DataError: the data has not what the family needs.
    """
    if family not in FAMILIES:
        raise RequestError(f"no bench `{family}`.{nearest(family, FAMILIES)} Benches: {', '.join(FAMILIES)}.")
    bench: Callable[..., Report] = load_object(FAMILIES[family])
    if family not in READING and isinstance(data, (str, Path, list, tuple)):
        if not isinstance(data, (str, Path)):
            raise RequestError(f"bench `{family}` takes one dataset; `beir` takes several.")
        data = Dataset.read(data)
    return bench(data, seeds=tuple(seeds), arms=arms, **options)


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
