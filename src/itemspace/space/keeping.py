"""The verbs that keep a Space in shape: its index chosen by measuring, semantic IDs, versions to go back to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itemspace.core.artifacts import Artifact
from itemspace.core.errors import RequestError
from itemspace.space import asked as given
from itemspace.space import index_tuning
from itemspace.space.index_tuning import IndexChoice
from itemspace.space.layout import DERIVED, FORMAT, TYPE
from itemspace.space.live import Live
from itemspace.space.lock import ReadWriteLock
from itemspace.space.showing import quiet
from itemspace.store.contract import Store

if TYPE_CHECKING:
    from itemspace.core.codes import Codes
    from itemspace.core.report import Report
    from itemspace.identify.lifecycle import Migration


class Keeping:
    """What is kept in shape; `Space` brings the parts."""

    path: Path
    _artifact: Artifact
    _store: Store
    _live: Live
    _lock: ReadWriteLock
    _changing: threading.RLock

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
        say: Callable[[str], object] = quiet,
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
