"""Fitting parts of a recipe as tasks of their own: one for each part and seed, continued from its checkpoint after a kill."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itemspace.core.contracts import Encoder, Recommender
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, RecipeError, RequestError, nearest
from itemspace.core.files import as_path
from itemspace.core.keeping import save_part
from itemspace.core.plugins import find
from itemspace.core.seeding import derive
from itemspace.jobs.chunks import Chunk, Phase
from itemspace.jobs.folder import Job, job_folder
from itemspace.jobs.inputs import Source, freeze, sourced, thaw
from itemspace.jobs.results import place_folder
from itemspace.jobs.work import Work
from itemspace.recipe import Recipe
from itemspace.space import parts
from itemspace.space.choosing import choose
from itemspace.space.layout import adopt

PARTS = ("encoder", "recommender")


def plan_train(
    source: Source,
    out: str | Path,
    *,
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    fit: Sequence[str] = ("recommender",),
    seeds: Sequence[int] | None = None,
    job: str | Path | None = None,
) -> Job:
    """A job that fits `fit` ("encoder", "recommender") as a build of the recipe does, once for each seed.

    out: a folder to be made, with a folder for each part (and seed, where several are given), opened by
    `itemspace.core.keeping.open_part`. seeds: by default the recipe's one.

    Raises:
        RecipeError: the recipe has no such part. RequestError: no part, no seed, or one that is none.
    """
    home = job_folder(out, job)
    for name in fit:
        if name not in PARTS:
            raise RequestError(f"a job fits no `{name}`.{nearest(name, PARTS)} It fits: {', '.join(PARTS)}.")
    if not fit or (seeds is not None and len(seeds) == 0):
        raise RequestError("fit what? Give at least one part and one seed.")
    with sourced(source, home) as (data, made_with):
        plan = Recipe.load(recipe if recipe is not None else made_with)
        for name in fit:
            if getattr(plan, name) is None:
                raise RecipeError(f"the recipe has no {name} to fit.")
        if "recommender" in fit and data.interactions is None:
            raise DataError("a recommender learns from events, and there are none.", hint="Give --interactions.")
        labels = tuple(name if seeds is None else f"{name}-{seed}" for name in fit for seed in seeds or (plan.seed,))
        options = {"recipe": plan.to_toml_dict()}

        def prepare(folder: Path) -> Sequence[Phase]:
            freeze(data, folder)
            return [Phase("fit", 1, 1, labels, "folder")]

        return Job.plan(home, Train.PATH, [data.fingerprint, labels], options, as_path(out), prepare)


class Train(Work):
    """Fits."""

    PATH = "itemspace.jobs.training:Train"

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.recipe = Recipe.load(job.options["recipe"])
        self._data = thaw(job.inputs)

    def fit(self, chunk: Chunk, folder: Path, scratch: Path) -> None:
        name, _, seed = chunk.label.partition("-")
        plan = self.recipe if not seed else Recipe.load(self.recipe.to_toml_dict() | {"seed": int(seed)})
        fit_part(name, self._data, plan, folder, scratch)

    def names(self, chunk: Chunk) -> list[str]:
        return [chunk.label]

    def finish(self) -> dict[str, Any]:
        def fill(to: Path) -> dict[str, Any]:
            phase = self.job.phase("fit")
            for chunk in phase:
                adopt(self.job.output(chunk), to / chunk.label)
            return {"parts": list(phase.labels), "rows": len(phase.labels)}

        return place_folder(self.job, fill)


def fit_part(name: str, data: Dataset, recipe: Recipe, folder: Path, scratch: Path) -> None:
    """Fit the recipe's encoder or recommender as a build does, and save it; with a checkpoint where the part keeps one."""
    if name == "encoder":
        assert recipe.encoder is not None
        encoder: Encoder = recipe.encoder.make("encoders")
        _checkpointed(encoder, scratch)
        readable = parts.readable(data.catalog, parts.words_of(data.catalog, recipe))
        save_part(encoder.fit(readable, rng=derive(recipe.seed, "encoder")), folder)
        return
    part = recipe.recommender
    assert part is not None
    choice = choose(data, recipe.seed) if part.name == "auto" else None
    model: Recommender = find("recommenders", choice.name)() if choice is not None else part.make("recommenders")
    _checkpointed(model, scratch)
    model.fit(data, rng=recipe.seed)
    if choice is not None:
        (folder / "choice.json").write_text(json.dumps(choice.to_json(), indent=1))
    save_part(model, folder)


def _checkpointed(part: Any, scratch: Path) -> None:
    """Have a part that keeps its progress in a file keep it where the next attempt looks for it."""
    if hasattr(part, "checkpoint"):
        part.checkpoint = scratch / "checkpoint"
