"""`Space`: the front door. External IDs in, external IDs out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from itemspace.core.artifacts import Artifact
from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Index, Retriever
from itemspace.core.dataset import Dataset
from itemspace.core.errors import ArtifactError, FormatVersionError, InUseError, RequestError, nearest
from itemspace.core.files import as_path
from itemspace.core.ids import Ids
from itemspace.core.plugins import find
from itemspace.data.table_files import TableFiles, found_at
from itemspace.recipe import Recipe
from itemspace.space import asked as given
from itemspace.space import changes, index_tuning
from itemspace.space.asking import Asking
from itemspace.space.build import Build, build_streamed, claimed
from itemspace.space.index_tuning import IndexChoice
from itemspace.space.layout import DERIVED, FORMAT, TYPE
from itemspace.space.live import Live
from itemspace.space.lock import ReadWriteLock
from itemspace.space.showing import Showing
from itemspace.store.contract import Store, UnreachableError

if TYPE_CHECKING:
    from itemspace.core.codes import Codes
    from itemspace.core.report import Report
    from itemspace.identify.lifecycle import Migration


def _quiet(_: str) -> None:
    return


@contextmanager
def _readable(home: Path) -> Iterator[None]:
    """Turn what reading a damaged file raises into one error that says what to do about it."""
    try:
        yield
    except (FormatVersionError, UnreachableError):
        raise
    except (ArtifactError, OSError, ValueError) as error:
        raise ArtifactError(
            f"{home} cannot be read ({str(error).rstrip('.')}).\n"
            "  Restore it from a copy, or build it again with replace=True (--replace)."
        ) from error


class Space(Asking, Showing):
    """One catalogue with everything that answers from it.

    ```python
    data  = its.Dataset.read("amazon-beauty", root="data")
    space = its.Space.build(data, path="shop.space")
    hits  = space.search("waterproof boots", k=10, where="price < 80 and in_stock")
    hits  = space.recommend(history=["B00A", "B01C"], k=10)
    space.add(items); space.update(prices); space.remove(["B00A"]); space.log(events)   # live at once
    ```

    Reads may come from several threads. One process at a time may write; readers elsewhere follow with `refresh()`.
    """

    def __init__(self, artifact: Artifact, store: Store, live: Live) -> None:
        """Use `Space.build` or `Space.open`."""
        self.path = artifact.path
        self._artifact, self._store, self._live = artifact, store, live
        self._lock = ReadWriteLock()
        self._changing = threading.RLock()  # taken before the store's and the readers' locks

    # Making and opening

    @classmethod
    def build(
        cls,
        data: Dataset | TableFiles | str | Path,
        *,
        path: str | Path,
        recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
        system: str | None = None,
        replace: bool = False,
        say: Callable[[str], object] = _quiet,
    ) -> Self:
        """Build a Space at `path` and open it. Killed, it goes on where it stopped when called again.

        data: a dataset, or the path of an items file or a folder that `Dataset.read` knows (`TableFiles` names several
        files). Files larger than memory are streamed: see `TableFiles`. recipe: a TOML file, a mapping, or None for the defaults. system: the slug of a published system to serve.
        replace: make a new generation of a Space that is already there; the old one answers until the new is complete.
        say: called with a line per step.

        Raises:
            RecipeError: the recipe does not say something buildable.
            ArtifactError: `path` is taken, or another process builds there.
        """
        plan, home = Recipe.load(recipe), as_path(path)
        if isinstance(data, (str, Path)):
            data = found_at(data)
        if not isinstance(data, (Dataset, TableFiles)):
            raise RequestError(
                f"a Space is built from a Dataset or a path, got {type(data).__name__}. Read one: Dataset.read(folder), "
                "or read_tables(items_file) from itemspace.data.tables."
            )
        if system is not None:
            plan = Recipe.load(plan.to_toml_dict() | {"system": system})
        if isinstance(data, TableFiles) and data.streamed:
            build_streamed(data, home, plan, say, replace=replace)
        else:
            build = Build(data.read() if isinstance(data, TableFiles) else data, home, plan, say)
            with claimed(home, replace=replace) as artifact:
                build.run(artifact)
        made = cls.open(path)
        if plan.identify is not None:
            say("giving items semantic IDs")
            made.identify(plan.identify.name, **plan.identify.options)
        return made

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a Space, for asking and (one process at a time) for changing.

        Raises:
            ArtifactError: there is no Space at `path`, or it is damaged.
            FormatVersionError: a newer itemspace built it; the message names the version.
        """
        home = as_path(path)
        if (home / "stages").exists() and not (home / "CURRENT").exists():
            raise ArtifactError(
                f"{home}: its build did not finish. Run the same build again; it goes on where it stopped."
            )
        artifact = Artifact.open(home, type=TYPE, format=FORMAT, derived=DERIVED)
        manifest = artifact.manifest
        store_class = find("stores", manifest["store_kind"])
        options = {key: value for key, value in manifest["recipe"]["store"].items() if key != "name"}
        config = store_class.config_class().parse(options, where=f"{home}: [store]")
        with _readable(home):
            store: Store = store_class.open(home / "stores" / manifest["store"], config=config)
        try:
            with _readable(home):
                return cls(artifact, store, Live.load(artifact, store))
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Give up the writer's place and the open files."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Space({str(self.path)!r}: {self.describe()})"

    def describe(self) -> str:
        """One line: how much of what, and which parts answer."""
        live = self._live
        told = [f"{live.catalog.count:,} items", f"{len(live.histories):,} users"]
        if live.words is not None:
            told.append(f"words by {type(live.words[1]).__name__}")
        if live.encoder is not None and live.dense is not None:
            dimension = live.encoder.space.dimension
            told.append(f"vectors by {type(live.encoder).__name__} ({dimension}) in {type(live.dense).__name__}")
        if live.reranker is not None:
            told.append(f"reranked by {type(live.reranker).__name__}")
        if live.recommender is not None:
            told.append(f"recommendations by {type(live.recommender).__name__}")
        return ", ".join(told)

    # What it is made of

    @property
    def catalog(self) -> Catalog:
        """The items as they are now, removed ones marked in `catalog.live`."""
        return self._live.catalog

    @property
    def recipe(self) -> Recipe:
        return self._live.recipe

    @property
    def version(self) -> int:
        """The store version that answers reflect."""
        return self._live.version

    @property
    def generation(self) -> str:
        """The generation that was opened, as `CURRENT` named it then."""
        return self._artifact.generation

    @property
    def users(self) -> Ids:
        """The users that something is known of."""
        return self._live.histories.users

    def retriever(self, by: str | None = None) -> Retriever:
        """What `search(by=...)` asks: "reranked", "hybrid", "lexical", "dense" or "system"; by default the first there is
        of "system", "reranked", "hybrid", "lexical", "dense".

        Raises:
            RequestError: the Space has no such part.
        """
        made = self._live.retrievers
        if by is not None:
            by = given.name(by, "`by`")
        elif set(made) == {"browse"}:
            raise RequestError("this Space has no words to search by; leave the query blank to list its items.")
        else:
            by = next(name for name in ("system", "reranked", "hybrid", "lexical", "dense") if name in made)
        if by not in made:
            known = [name for name in made if name != "browse"]
            raise RequestError(f"this Space does not search by `{by}`.{nearest(by, known)} It has: {', '.join(known)}.")
        return made[by]

    @property
    def retrievers(self) -> Mapping[str, Retriever]:
        """Everything this Space can search with, by name."""
        return self._live.retrievers

    def exact_index(self) -> Index:
        """The Space's vectors in an exhaustive index: what an approximate one is held against."""
        with self._lock.read():
            return self._live.exact_index(self._store)

    @property
    def recommender(self) -> Any:
        """The recommender.

        Raises:
            RequestError: the Space was built without events.
        """
        if self._live.recommender is None:
            raise RequestError("this Space was built without events; build it with interactions to recommend.")
        return self._live.recommender

    def tune_index(
        self,
        *,
        recall: float = 0.95,
        memory: float = float("inf"),
        k: int = 10,
        types: Sequence[str] | None = None,
        sample: int | None = None,
        seconds: float = 600.0,
        apply: bool = False,
        write: bool = True,
        say: Callable[[str], object] = _quiet,
    ) -> IndexChoice:
        """Measure which index of vectors reaches `recall`@k within `memory` bytes at the least CPU time per query.

        Candidates are built over a sample of the Space's vectors and asked its logged queries (or items held out). The
        choice is written to the recipe, in a new generation; with `apply` the index is built of it there and answers from
        then on, here and wherever the newest generation is opened. Where nothing suffices, nothing is written.

        types: names of indexes; None for all that are installed. seconds: after which no further candidate is begun.

        Raises:
            RequestError: the Space has no vectors, or an unknown type. ArtifactError: it was built anew meanwhile.
        """
        tuned = index_tuning.measure(
            self._live,
            self._store,
            recall=recall,
            memory=memory,
            k=k,
            types=types,
            sample=sample,
            seconds=seconds,
            say=say,
        )
        if tuned.choice is None or not (write or apply):
            return IndexChoice(tuned)
        with self._changing:
            store = self._artifact.manifest["store"]
            made = index_tuning.written(self.path, self._live, self._store, store, tuned, apply=apply, say=say)
            artifact = Artifact.open(self.path, type=TYPE, format=FORMAT, derived=DERIVED)
            live = Live.load(artifact, self._store)
            with self._lock.write():
                self._artifact, self._live = artifact, live
        return made

    # Changing

    def add(self, items: pa.Table | Sequence[Mapping[str, Any]]) -> int:
        """Add items, or replace those whose ID is known; searchable when the call returns. Returns how many.

        Raises:
            DataError, SchemaError: an ID is missing or given twice, a column is unknown, a value does not fit. Nothing
                of the call is written then. NaN counts as missing; an infinite number is refused.
        """
        return self._change(lambda: changes.add(self._live, self._store, items))

    def update(self, items: pa.Table | Sequence[Mapping[str, Any]]) -> int:
        """Change some columns of known items. Vectors are made anew only where a column of words changes.

        Raises:
            DataError: an ID is unknown or given twice, or a value does not fit.
        """
        return self._change(lambda: changes.update(self._live, self._store, items))

    def remove(self, items: Sequence[str]) -> int:
        """Remove items; they never come back in an answer. Returns how many.

        Raises:
            RequestError: an ID is unknown.
        """
        names = given.ids(items, "remove which items")
        return self._change(lambda: changes.remove(self._live, self._store, names))

    def log(self, events: pa.Table | Sequence[Mapping[str, Any]]) -> int:
        """Record events (`user`, `item`, and where known `time`, `event`, `weight`).

        A known user's next recommendation already follows from them; an unknown user becomes known. Without a time, now.

        Raises:
            DataError: a user or item is missing, or the item is unknown.
        """
        now = int(time.time())
        return self._change(lambda: changes.log(self._live, self._store, events, now))

    def refresh(self) -> bool:
        """Follow what another process wrote. Returns whether anything changed."""
        if self._store.version == self._live.version:
            return False
        with self._changing:
            self._follow()
        return True

    @contextmanager
    def writing(self, *, wait_s: float = 0.0) -> Iterator[Self]:
        """Hold the writer's place for a `with` block: for several changes in a row, or to wait while another process
        has it.

        Raises:
            InUseError: another process still has it after `wait_s` seconds.
        """
        until, pause = time.monotonic() + wait_s, 0.0005
        with ExitStack() as held:
            while True:
                try:
                    # In between, others may refresh.
                    with ExitStack() as taken:
                        taken.enter_context(self._changing)
                        taken.enter_context(self._store.writing())
                        held.push(taken.pop_all())
                    break
                except InUseError:
                    if time.monotonic() >= until:
                        raise
                time.sleep(pause)
                pause = min(2 * pause, 0.01)
            yield self

    def _change(self, apply: Callable[[], int]) -> int:
        with self._changing, self._store.writing():
            self._follow()
            count = apply()
            self._follow()
            return count

    def _follow(self) -> None:
        """Catch up with the store. The caller holds `_changing`."""
        news = self._live.news(self._store)
        if news is not None:
            with self._lock.write():
                self._live.take(news)

    def identify(
        self, tokenizer: str | None = None, *, refit: bool = False, warm: bool = True, **options: Any
    ) -> Migration | None:
        """Give every item a semantic ID, kept in the store: see `codes`. Items that have one keep it.

        tokenizer: by name, such as "residual-k-means" (the default), "rq-vae", "fsq", "product", "title"; options are its
        own. Called again, items that came since get codes that no item has or had. refit: fit anew to the items there are,
        as a new version that keeps as many codes as it can; the map from the old ones comes back. warm: begin from the
        codebooks there are.

        Raises:
            RequestError: the Space lacks what the tokenizer reads, or there are codes by another one (refit then).
            RecipeError: no such tokenizer or option.
        """
        from itemspace.space import identifying

        if tokenizer is not None:
            tokenizer = given.name(tokenizer, "`tokenizer`")
        found: list[Migration | None] = []

        def apply() -> int:
            made, migration = identifying.identify(
                self.path, self._store, self._live, tokenizer, options, refit=refit, warm=warm
            )
            found.append(migration)
            return len(made.codes)

        self._change(apply)
        return found[0]

    def codes(self) -> Codes | None:
        """The semantic IDs of the items that have one (`codes.item` are rows), or None before `identify`."""
        from itemspace.space import identifying

        return identifying.stored_codes(self._store)

    def codes_report(self, *, category: str | None = None, k: int = 10, sample: int = 2_000) -> Report:
        """The health of the semantic IDs: usage, collisions, agreement with the items' vectors, events and categories.

        category: the column prefixes are held against; by default the first one of kind category.

        Raises:
            RequestError: the items have no codes. SchemaError: no such column.
        """
        from itemspace.space import identifying

        with self._lock.read():
            return identifying.codes_report(self.path, self._store, self._live, category, k, sample)

    def snapshot(self, tag: str) -> int:
        """Name the present state of items, vectors and events, so that `restore` can bring it back."""
        return self._store.snapshot(tag)

    def drop_snapshot(self, tag: str) -> int:
        """Let a snapshot go.

        Raises:
            DataError: there is none of that name.
        """
        return self._store.drop_snapshot(tag)

    def snapshots(self) -> dict[str, int]:
        """The snapshots: name -> version."""
        return self._store.snapshots()

    def versions(self) -> dict[int, float]:
        """The versions that `restore` can bring back -> when they were written (Unix seconds)."""
        return self._store.versions()

    def restore(self, to: str | int) -> int:
        """Bring back the items, vectors and events of a snapshot (roll back a bad import).

        Raises:
            DataError: there is no such snapshot or version.
        """
        if isinstance(to, bool) or not isinstance(to, (str, int)):
            raise RequestError(f"restore what? Give a snapshot's name or a version, got {to!r}.")

        def apply() -> int:
            return self._store.restore(to)

        return self._change(apply)
