"""A whole Space: what takes long is done by workers, and the build takes it up as steps it has finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itemspace.core.errors import ArtifactError
from itemspace.core.files import as_path, remove_tree, write_json_atomic
from itemspace.jobs.chunks import Chunk, Phase
from itemspace.jobs.encoding import CHUNK_ROWS, Encode
from itemspace.jobs.folder import Job, job_folder
from itemspace.jobs.inputs import Source, freeze, sourced
from itemspace.jobs.results import joined_arrays
from itemspace.jobs.training import fit_part
from itemspace.recipe import Recipe
from itemspace.space import Space
from itemspace.space.build import Build as LocalBuild
from itemspace.space.layout import adopt, sync_tree


def plan_build(
    source: Source,
    out: str | Path,
    *,
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    chunk_rows: int = CHUNK_ROWS,
    job: str | Path | None = None,
) -> Job:
    """A job that builds the Space at `out`: the encoder and the recommender are fitted and all items encoded by workers,
    then the build goes on from there in the process that drives the job. The Space is the one `Space.build` makes.

    Raises:
        RecipeError: the recipe does not say something buildable. ArtifactError: `out` or `job` is taken.
    """
    home, target = job_folder(out, job), as_path(out)
    if (target / "CURRENT").exists() and not (home / "job.json").exists():
        raise ArtifactError(f"{target} is a Space already. Choose another path.")
    with sourced(source, home) as (data, made_with):
        plan = Recipe.load(recipe if recipe is not None else made_with)
        local = LocalBuild(data, target, plan, str)  # refuses what cannot be built
        fits = []
        if plan.encoder is not None and local.columns:
            fits.append("encoder")
        if plan.recommender is not None and plan.system is None and data.interactions is not None:
            fits.append("recommender")

        def prepare(folder: Path) -> Sequence[Phase]:
            freeze(data, folder)
            write_json_atomic(folder / "encoding.json", {"columns": local.columns, "version": 0})
            phases = [Phase("fit", 1, 1, tuple(fits), "folder")] if fits else []
            return [*phases, Phase("encode", len(data.catalog), chunk_rows)] if "encoder" in fits else phases

        options = {"recipe": plan.to_toml_dict(), "chunk_rows": chunk_rows, "into": False}
        return Job.plan(home, Build.PATH, [data.fingerprint], options, target, prepare)


class Build(Encode):
    """A Space from its recipe."""

    PATH = "itemspace.jobs.building:Build"

    def fit(self, chunk: Chunk, folder: Path, scratch: Path) -> None:
        fit_part(chunk.label, self._data, self.recipe, folder, scratch)

    def finish(self) -> dict[str, Any]:
        out = self.job.out
        if not (out / "CURRENT").exists():
            self._stage(out / "stages" / LocalBuild(self._data, out, self.recipe, str).key)
            Space.build(self._data, path=out, recipe=self.recipe).close()
        with Space.open(out) as built:
            return {"rows": built.catalog.count, "space": built.describe()}

    def _stage(self, stages: Path) -> None:
        """Lay what workers made where the build looks for its finished steps."""
        made: dict[str, Path] = {}
        for phase in self.job.phases:
            if phase.name == "fit":
                made |= {chunk.label: self.job.output(chunk) for chunk in phase}
        for name, source in made.items():
            self._laid(stages / name, lambda to, source=source: adopt(source, to))
        if "encoder" in made:
            self._laid(stages / "vectors", self._join)

    def _join(self, to: Path) -> None:
        to.mkdir()
        joined_arrays(self.job.outputs("encode"), len(self._data.catalog), to / "vectors.npy")

    def _laid(self, step: Path, make: Any) -> None:
        if step.exists():
            return
        aside = step.with_name(f".{step.name}-job")
        remove_tree(aside)
        aside.parent.mkdir(parents=True, exist_ok=True)
        make(aside)
        sync_tree(aside)
        aside.rename(step)
