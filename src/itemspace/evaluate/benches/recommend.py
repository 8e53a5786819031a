"""Next-item recommendation: every arm on one leave-one-out split, full ranking, the same items excluded.

Arms that learn from seeds are fitted once per seed; validation requests serve early stopping only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from itemspace.core.contracts import Budget, Recommender
from itemspace.core.dataset import Dataset
from itemspace.core.errors import MissingExtraError
from itemspace.core.plugins import find
from itemspace.core.report import Report
from itemspace.data.splits import leave_one_out
from itemspace.evaluate.benches import chosen
from itemspace.evaluate.compare import report_of
from itemspace.evaluate.evaluation import Evaluation, evaluate
from itemspace.metrics import Items

ARMS: Mapping[str, tuple[str, dict[str, Any], bool]] = {
    "popularity": ("popularity", {}, False),
    "counting": ("counting", {}, False),
    "item-knn": ("item-knn", {}, False),
    "ease": ("ease", {}, False),
    "bpr-mf": ("bpr-mf", {}, True),
    "sasrec-ce": ("sasrec", {"loss": "softmax"}, True),
    "sasrec-bce": ("sasrec", {"loss": "binary", "positions": "end", "patience": 6}, True),
}
"""Arm -> the recommender, its settings, and whether it depends on the seed."""
METRICS = ("recall@5", "recall@10", "ndcg@5", "ndcg@10", "coverage@10")


def bench(
    data: Dataset,
    *,
    seeds: Sequence[int] = (0,),
    arms: Sequence[str] | None = None,
    budget: Budget | None = None,
) -> Report:
    """The recommendation table of a dataset. An arm whose extra is not installed is left out and named.

    Raises:
        DataError: the dataset has no events.
    """
    split = leave_one_out(data)
    train = split.train.interactions
    assert train is not None
    items = Items(len(data.catalog), train.counts())
    runs: dict[str, list[Evaluation]] = {}
    spent: dict[str, list[float]] = {}
    missing: list[str] = []
    for name in chosen(ARMS, arms):
        part, options, seeded = ARMS[name]
        try:
            for seed in seeds if seeded else seeds[:1]:
                kind: type[Recommender] = find("recommenders", part)
                model = kind(**options)
                report = model.fit(split.train, valid=split.valid, budget=budget, rng=seed)
                spent.setdefault(name, []).append(round(report.seconds, 1))
                runs.setdefault(name, []).append(
                    evaluate(model.bind(data.catalog), split.test, METRICS, items=items, name=name)
                )
        except MissingExtraError as error:
            missing.append(f"{name}: {error}")
    return report_of(
        runs,
        split.test,
        baseline=next(iter(runs)),
        items=items,
        title=f"Recommendation on {data.name}",
        provenance={
            "dataset": data.name,
            "items": len(data.catalog),
            "users": len(train.users),
            "events": 0 if data.interactions is None else len(data.interactions),
            "split": split.manifest,
            "history": "excluded from the answers; the test history includes the validation item",
            "fit seconds": spent,
            "left out": missing,
        },
    )
