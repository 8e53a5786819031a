"""Which recommender, where the recipe says "auto": the one that validates best among those that need no training loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from itemspace.core.contracts import Recommender
from itemspace.core.dataset import Dataset
from itemspace.core.errors import CapacityError, DataError
from itemspace.core.plugins import find
from itemspace.core.seeding import derive
from itemspace.data.splits import leave_one_out
from itemspace.evaluate import evaluate
from itemspace.recipe import Recipe

CANDIDATES = ("counting", "item-knn", "ease")
METRIC = "ndcg@10"
MOST_REQUESTS = 2_000
LEAST_REQUESTS = 50
"""Fewer validation requests than this cannot tell recommenders apart; the first candidate is taken."""


@dataclass(frozen=True)
class Choice:
    """The recommender to use and why: its short name, what each candidate scored on validation, what was left out."""

    name: str
    scores: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    requests: int = 0

    def __str__(self) -> str:
        if not self.scores:
            return f"{self.name} (too few users with three events to compare)"
        told = ", ".join(f"{name} {score:.4f}" for name, score in self.scores.items())
        return f"{self.name} ({METRIC} on {self.requests:,} validation requests: {told})"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "scores": self.scores, "left_out": self.left_out, "requests": self.requests}


def choose(data: Dataset, seed: int) -> Choice:
    """Fit every candidate to all but the last two events of each user, and compare on the last but one."""
    try:
        split = leave_one_out(data, rng=seed)
    except DataError:
        return Choice(CANDIDATES[0])
    draw = derive(seed, "choose-recommender")
    task = split.valid
    if len(task) < LEAST_REQUESTS:
        return Choice(CANDIDATES[0], requests=len(task))
    if len(task) > MOST_REQUESTS:
        task = task.take(np.sort(draw.choice(len(task), MOST_REQUESTS, replace=False)))
    scores: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name in CANDIDATES:
        model: Recommender = find("recommenders", name)()
        try:
            model.fit(split.train, rng=seed)
        except CapacityError as error:
            left_out[name] = str(error)
            continue
        scores[name] = evaluate(model.bind(data.catalog), task, [METRIC], k=10, name=name)[METRIC]
    return Choice(max(scores, key=lambda name: scores[name]), scores, left_out, len(task))


def fitted(data: Dataset, recipe: Recipe) -> tuple[Recommender, Choice | None]:
    """The recipe's recommender, chosen (where it says "auto") and fitted on `data`."""
    part = recipe.recommender
    if part is None:
        raise DataError("the recipe has no recommender")
    choice = choose(data, recipe.seed) if part.name == "auto" else None
    model: Recommender = find("recommenders", choice.name)() if choice is not None else part.make("recommenders")
    model.fit(data, rng=recipe.seed)
    return model, choice
