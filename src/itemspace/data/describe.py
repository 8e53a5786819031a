"""`describe`: what was understood of a dataset, what is missing, and what is wrong with it. Every number is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.catalog import Catalog, join_columns
from itemspace.core.dataset import Dataset
from itemspace.core.interactions import Impressions, Interactions
from itemspace.data import leaks

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


@dataclass(frozen=True)
class ColumnInfo:
    """One column of the catalogue: its kind and why, how many values are missing and distinct, and an example."""

    name: str
    kind: str
    reason: str
    missing: int
    distinct: int | None
    example: str


@dataclass(frozen=True)
class Timeline:
    """First and last event (ISO 8601, UTC) and events per month ("2014-05", count), months without any left out."""

    first: str
    last: str
    months: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Description:
    """What `describe` found.

    counts: how many of everything. per_user, per_item: events, at `QUANTILES` and on average. cold: items nobody
    touched, and test items unseen in training under leave-one-out. duplicates: repeated pairs, events, texts.
    measures: the figures behind the warnings. warnings: what to know before believing a result, worst first.
    """

    name: str
    source: Mapping[str, Any]
    counts: Mapping[str, int]
    columns: tuple[ColumnInfo, ...]
    order: str
    timeline: Timeline | None = None
    per_user: Mapping[str, float] = field(default_factory=dict)
    per_item: Mapping[str, float] = field(default_factory=dict)
    cold: Mapping[str, float] = field(default_factory=dict)
    duplicates: Mapping[str, int] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return asdict(self)

    def __rich__(self) -> Any:
        from itemspace.data.show import rendered

        return rendered(self)

    def print(self) -> None:
        """Show it on the terminal."""
        from rich.console import Console

        Console().print(self)

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=120, color_system=None)
        with console.capture() as captured:
            console.print(self)
        return captured.get()


def describe(data: Dataset | str | Path, **options: Any) -> Description:
    """Describe a dataset, or whatever `read(data, **options)` finds at a path.

    Raises:
        DataError: the path cannot be read.
    """
    if not isinstance(data, Dataset):
        from itemspace.data.read import read

        data = read(data, **options)
    log = data.interactions
    counts, duplicates = _counts(data), _duplicates(data)
    measures: dict[str, float] = {}
    warnings: list[str] = []
    parts: dict[str, Any] = {}
    if log is not None and len(log):
        parts["per_user"] = _spread(np.bincount(log.user, minlength=len(log.users)))
        parts["per_item"] = _spread(log.counts())
        parts["cold"] = _cold(log)
        parts["timeline"] = None if log.time is None else _timeline(log.time)
        _event_warnings(data, log, measures, warnings)
    _judgment_warnings(data, measures, warnings)
    if data.impressions is not None:
        measures |= _clicks(data.impressions)
    bare = int(np.count_nonzero(leaks.bare_items(data)))
    if bare:
        measures["items_with_id_only"] = bare
        warnings.append(
            f"{bare:,} of {len(data.catalog):,} items have an ID and nothing else: no text to search or encode."
        )
    return Description(
        data.name, dict(data.source), counts, _columns(data.catalog), data.order, duplicates=duplicates, measures=measures,
        warnings=tuple(warnings), **parts,
    )  # fmt: skip


def _counts(data: Dataset) -> dict[str, int]:
    counts = {"items": len(data.catalog), "columns": len(data.catalog.schema.kinds)}
    if data.interactions is not None:
        log = data.interactions
        counts |= {"events": len(log), "users": len(log.users), "items with events": int((log.counts() > 0).sum())}
        for code, event in enumerate(log.events):
            counts[f"events: {event}"] = int(np.count_nonzero(np.asarray(log.event) == code))
    if data.impressions is not None:
        shown = data.impressions
        counts |= {
            "impressions": len(shown),
            "lists shown": len(np.unique(shown.request)),
            "clicks": int(np.count_nonzero(shown.outcome > 0)),
        }
    if data.queries is not None:
        counts["queries"] = len(data.queries)
    if data.judgments is not None:
        judged = data.judgments
        counts |= {"judged pairs": len(judged.grades), "judged queries": int((judged.items.lengths > 0).sum())}
        for grade, count in zip(*(x.tolist() for x in np.unique(judged.grades, return_counts=True)), strict=True):
            counts[f"grade {grade:g}"] = count
    return counts


def _columns(catalog: Catalog) -> tuple[ColumnInfo, ...]:
    found = []
    for name, kind in catalog.schema:
        column = catalog.table.column(name)
        absent = leaks.missing_values(column)
        distinct = None if pa.types.is_nested(column.type) else int(pc.count_distinct(column).as_py())
        at = int(np.argmin(absent))
        example = "" if absent.all() else str(column[at].as_py())
        found.append(
            ColumnInfo(
                name, kind, catalog.schema.reasons.get(name, "stated"), int(absent.sum()), distinct, example[:80]
            )
        )
    return tuple(found)


def _spread(counts: np.ndarray) -> dict[str, float]:
    names = ("min", "25%", "50%", "75%", "90%", "99%", "max")
    values = np.quantile(counts, QUANTILES)
    return {**{n: float(v) for n, v in zip(names, values, strict=True)}, "mean": float(counts.mean())}


def _cold(log: Interactions) -> dict[str, float]:
    untouched = int((log.counts() == 0).sum())
    unseen, affected, tested = leaks.unseen(log)
    return {
        "items without events": untouched,
        "share of items without events": untouched / max(len(log.items), 1),
        "users with one event": int((np.bincount(log.user, minlength=len(log.users)) == 1).sum()),
        "users with three events or more": tested,
        "test items unseen in training": unseen,
        "users whose test item is unseen in training": affected,
    }


def _timeline(times: np.ndarray) -> Timeline:
    months = times.astype("datetime64[s]").astype("datetime64[M]")
    names, counts = np.unique(months, return_counts=True)
    first, last = (str(np.datetime64(int(t), "s")) for t in (times.min(), times.max()))
    return Timeline(first, last, tuple((str(n), int(c)) for n, c in zip(names, counts, strict=True)))


def _duplicates(data: Dataset) -> dict[str, int]:
    found: dict[str, int] = {}
    names = data.catalog.schema.columns("text")
    if names:
        texts = pa.array(join_columns(data.catalog.table, names), pa.large_string())
        filled = texts.filter(pc.not_equal(texts, ""))
        found["items whose text another item has"] = len(filled) - len(filled.unique())
    log = data.interactions
    if log is not None:
        pairs = np.sort(log.user.astype(np.int64) << 32 | log.item)
        found["repeated (user, item) pairs"] = int((pairs[1:] == pairs[:-1]).sum())
        if log.time is not None:
            order = np.lexsort((log.time, log.item, log.user))
            same = [x[order][1:] == x[order][:-1] for x in (log.user, log.item, log.time)]
            found["repeated (user, item, time) events"] = int(np.logical_and.reduce(same).sum())
    return found


def _event_warnings(data: Dataset, log: Interactions, measures: dict[str, float], warnings: list[str]) -> None:
    order = leaks.id_order(log)
    if order is not None:
        measures |= {"id_next_share": order.share, "id_next_chance": order.chance}
        if not np.isnan(order.order):
            measures["id_order_correlation"] = order.order
        if order.share > max(0.005, 10 * order.chance):
            warnings.append(
                f'Item IDs leak the order of events: "highest ID seen + 1" is the last item of {order.next_hits:,} of '
                f"{order.users:,} users ({order.share:.1%}; chance {order.chance:.3%}). Rows here are a permutation; do not "
                "feed the IDs to a model or break ties by them."
            )
    if log.time is None:
        warnings.append("No times: the order within a user is the file's, and a split by time is impossible.")
    else:
        tied, several = leaks.last_ties(log)
        measures |= {"tied_last_two": tied, "tied_last_two_share": tied / max(several, 1)}
        if tied > 0.01 * several:
            warnings.append(
                f"The last two events of {tied:,} of {several:,} users ({tied / several:.0%}) have the same time: which is "
                "validation and which is test depends on the order of the file."
            )
    for column, (late, known) in leaks.after_removal(data).items():
        measures[f"events_after_{column}"] = late
        if late:
            warnings.append(f"{late:,} of {known:,} events come after their item's `{column}`: those items were gone.")


def _judgment_warnings(data: Dataset, measures: dict[str, float], warnings: list[str]) -> None:
    if data.judgments is None:
        return
    judged = data.judgments.items
    none, without = int((judged.lengths == 0).sum()), int((data.judgments.relevant.lengths == 0).sum())
    missing = int(leaks.bare_items(data)[np.unique(judged.values)].sum())
    measures |= {
        "queries_without_judgments": none,
        "queries_without_relevant": without,
        "judged_items_with_id_only": missing,
    }
    if none:
        warnings.append(f"{none:,} of {len(judged):,} queries have no judgment; metrics leave them out.")
    if without > none:
        warnings.append(f"{without - none:,} judged queries have no relevant item; most metrics leave them out.")
    if missing:
        warnings.append(
            f"{missing:,} judged items are not in the catalogue file (an ID only): no text search can find them."
        )
    if (data.judgments.grades > 0).all() and len(data.judgments.grades):
        warnings.append("Only relevant items are judged: an unjudged answer is not known to be wrong.")


def _clicks(shown: Impressions) -> dict[str, float]:
    """The share of shown items with an outcome, at each of the first ten positions."""
    places = np.bincount(shown.position, minlength=10)[:10]
    clicks = np.bincount(shown.position, weights=shown.outcome > 0, minlength=10)[:10]
    return {f"clicks_at_{at}": float(c / n) for at, (c, n) in enumerate(zip(clicks, places, strict=True)) if n}
