"""`Space`: the front door. External IDs in, external IDs out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

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
from itemspace.space import changes
from itemspace.space.asking import Asking
from itemspace.space.build import Build, build_streamed, claimed
from itemspace.space.keeping import Keeping
from itemspace.space.layout import DERIVED, FORMAT, TYPE
from itemspace.space.live import Live
from itemspace.space.lock import ReadWriteLock
from itemspace.space.showing import Showing, quiet
from itemspace.store.contract import Store, UnreachableError


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


class Space(Asking, Showing, Keeping):
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
        say: Callable[[str], object] = quiet,
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
