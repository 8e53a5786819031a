"""Splits: training data and tasks from one dataset, each with a stated guarantee and a manifest that repeats it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, nearest
from itemspace.data.splits.base import MANIFEST_VERSION, Split
from itemspace.data.splits.cold import cold_items, cold_users, random
from itemspace.data.splits.order import leave_one_out
from itemspace.data.splits.queries import query_task, repeated_query_splits, split_queries
from itemspace.data.splits.temporal import global_temporal

__all__ = [
    "SPLITS",
    "Split",
    "cold_items",
    "cold_users",
    "from_manifest",
    "global_temporal",
    "leave_one_out",
    "query_task",
    "random",
    "repeated_query_splits",
    "split_queries",
]

SPLITS: dict[str, Callable[..., Split]] = {
    "leave_one_out": leave_one_out,
    "global_temporal": global_temporal,
    "cold_items": cold_items,
    "cold_users": cold_users,
    "random": random,
}


def from_manifest(dataset: Dataset, manifest: Mapping[str, Any]) -> Split:
    """The split a manifest describes, exactly.

    Raises:
        DataError: the manifest is of another dataset, of an unknown kind or version, or what comes out is not what it
            recorded (another version of the split's code).
    """
    lacking = [key for key in ("version", "kind", "params", "seed", "data", "parts") if key not in manifest]
    if lacking:
        raise DataError(f"this is not the manifest of a split: it has no `{lacking[0]}`")
    if manifest["version"] != MANIFEST_VERSION:
        raise DataError(f"the manifest has version {manifest['version']}; this itemspace reads {MANIFEST_VERSION}")
    kind = str(manifest["kind"])
    if kind not in SPLITS:
        raise DataError(f"no split is called `{kind}`.{nearest(kind, SPLITS)} Splits: {', '.join(SPLITS)}.")
    if manifest["data"] != dataset.fingerprint:
        raise DataError(
            f"the manifest was made from other data (fingerprint {manifest['data']}; "
            f"{dataset.name} has {dataset.fingerprint})",
            hint="Read the same files with the same options, or make the split anew.",
        )
    split = SPLITS[kind](dataset, rng=int(manifest["seed"]), **manifest["params"])
    differing = [part for part, value in split.manifest["parts"].items() if manifest["parts"].get(part) != value]
    if differing:
        raise DataError(f"the {differing[0]} part differs from what the manifest recorded; make the split anew")
    return split
