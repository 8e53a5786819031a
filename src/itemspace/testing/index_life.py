"""The life of an `Index`, as tests to inherit: changes without end, readers beside a writer, saving, opening, dying.

```python
class TestMineLives(IndexLifeContract):
    index = MyIndex(m=16)
    floor = 0.95            # as in `IndexContract`
```

Whoever overrides `items`, `queries` or `reference` for `IndexContract` puts them into a class that both contracts
inherit. An index that inherits `itemspace.index.guard.Guarded` has what the tests of threads ask for.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from itemspace.core.artifacts import Artifact
from itemspace.core.contracts import Index
from itemspace.core.keeping import open_part, save_part
from itemspace.core.selection import Selection
from itemspace.core.topk import top_k_reference
from itemspace.core.vectors import Dense
from itemspace.testing.index import IndexWorld

SHARES = (0.0005, 0.005, 0.05, 0.3, 1.0)
TYPE, FORMAT = "index.life", 1


@dataclass
class Model:
    """An index and what it must hold: row -> the position of its content in `contents`, -1 for a row that is not there."""

    index: Index
    contents: Any
    place: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """Live rows, int32, ascending."""
        return np.flatnonzero(self.place >= 0).astype(np.int32)

    def items(self) -> Any:
        """The content of every row; some content where there is none (never to be answered)."""
        return self.contents.take(np.maximum(self.place, 0))

    def within(self, rows: np.ndarray | None = None) -> Selection:
        """The live ones of `rows`."""
        live = self.rows if rows is None else np.intersect1d(self.rows, rows)
        return Selection.of_rows(live, len(self.place))


class IndexLifeContract(IndexWorld):
    """What any index must do while it lives. `size` rows, half of which are replaced."""

    size: ClassVar[int] = 1500
    lost: ClassVar[float] = 0.01
    """The recall a changed index may be below one that is built anew of the same rows."""
    kills: ClassVar[int] = 2
    """How many times a saving process is killed."""
    mapped: ClassVar[float] = 0.25
    """The share of its bytes on disk that opening may read: the rest is mapped, or read when it is needed."""
    mapped_size: ClassVar[int] = 20_000
    absolute: ClassVar[bool] = True
    """Whether an item's score depends on nothing but the item and the query."""
    seconds: ClassVar[float] = 1.0
    """How long readers and a writer work beside each other."""

    # What a subclass may replace.

    def arrivals(self, n: int, seed: int) -> Any:
        """n items that come later. Dense ones come in clusters of their own: what was learned of the first ones is old."""
        found = self.items(n, seed)
        if not isinstance(found, Dense):
            return found
        rng = np.random.default_rng(seed + 1)
        centers = np.random.default_rng(98).standard_normal((12, found.values.shape[1]))
        values = np.array(found.values, np.float32)
        values[: n // 2] = centers[rng.integers(0, 12, n // 2)] + 0.4 * rng.standard_normal((n // 2, values.shape[1]))
        return Dense(values.astype(found.values.dtype), found.space)

    def asked(self, q: int) -> Any:
        """Queries about the first items and, of dense vectors, about later ones."""
        if not isinstance(self.queries(1), Dense):
            return self.queries(q)
        return self.concatenated([self.queries(q // 2), self.arrivals(q - q // 2, 4321)])

    # Helpers.

    def churned(self, model: Model, share: float, waves: int, seed: int = 0) -> Iterator[None]:
        """Remove half as many rows as `share` says, replace the other half, add as many as were removed; wave by wave."""
        rng = np.random.default_rng(seed)
        size = len(model.rows)
        each = max(round(share * size / 2 / waves), 1)
        first = np.array_split(rng.permutation(model.rows), [each * waves, 2 * each * waves])
        new = len(model.place)
        for wave in range(waves):
            part = slice(wave * each, (wave + 1) * each)
            gone, replaced = first[0][part], first[1][part]
            added = np.arange(new + wave * each, new + (wave + 1) * each, dtype=np.int32)
            arrived = self.arrivals(2 * each, 1000 * seed + wave)
            start = len(model.contents)
            model.contents = self.concatenated([model.contents, arrived])
            model.place = np.concatenate([model.place, np.full(each, -1)])
            rows = np.concatenate([replaced, added]).astype(np.int32)
            model.place[gone], model.place[rows] = -1, start + np.arange(2 * each)
            model.index.remove(gone)
            model.index.upsert(arrived, rows, ties=self.ties(3 * self.size))
            yield

    def young(self) -> Model:
        """A built index."""
        items = self.items(self.size)
        return Model(self.built(items, ties=self.ties(3 * self.size)), items, np.arange(self.size))

    def held(self, model: Model, queries: Any, rows: np.ndarray | None = None, index: Index | None = None) -> float:
        """Check the answers among `rows` (None: among all) of an index that holds what the model says; the recall."""
        within = model.within(rows)
        items = model.items()
        dead = np.setdiff1d(np.arange(len(model.place)), model.rows)
        expected = self.without(items, dead)
        hits = (index or model.index).search(queries, self.k, None if rows is None else within)
        self.check(hits, queries, expected, within, ties=self.ties(3 * self.size)[: len(model.place)])
        return self.recall(hits.rows, queries, expected, within)

    def recall(self, found: np.ndarray, queries: Any, items: Any, within: Selection) -> float:
        """The share of the best rows that were found."""
        scores = self.reference(queries, items)
        scores[:, ~within.mask] = -np.inf
        ties = self.ties(3 * self.size)[: scores.shape[1]]
        best, _ = top_k_reference(scores, found.shape[1], ties)
        shared = sum(len(set(a) & set(b) - {-1}) for a, b in zip(found.tolist(), best.tolist(), strict=True))
        return shared / max(int((best >= 0).sum()), 1)

    # The contract.

    def test_half_replaced_it_finds_what_a_rebuild_finds(self) -> None:
        model = self.young()
        for _ in self.churned(model, 0.5, waves=10):
            pass
        queries = self.asked(60)
        rows, index = model.rows, model.index
        assert len(index) == len(rows)
        rebuilt = self.fresh().build([model.contents.take(model.place[rows])], [rows], ties=self.ties(3 * self.size))
        anew = self.held(model, queries, index=rebuilt)
        churned = self.held(model, queries)
        assert churned >= anew - self.lost, f"recall {churned:.4f} after churn, {anew:.4f} built anew"
        index.compact()
        assert len(index) == len(rows)
        compacted = self.held(model, queries)
        assert compacted >= anew - self.lost, f"recall {compacted:.4f} when compacted, {anew:.4f} built anew"

    def test_every_filter_gets_its_hits_while_rows_come_and_go(self) -> None:
        model = self.young()
        queries, rng = self.asked(8), np.random.default_rng(7)
        for wave, _ in enumerate(self.churned(model, 0.6, waves=3, seed=1)):
            for share in SHARES:
                rows = rng.choice(len(model.place), max(1, round(share * len(model.place))), replace=False)
                self.held(model, queries, rows)
            if wave == 1:
                model.index.compact()

    def test_readers_see_whole_changes_while_a_writer_writes(self) -> None:
        index = self.young().index
        block = np.arange(10, dtype=np.int32)
        versions = [self.items(len(block), seed=50 + i) for i in range(6)]
        trouble: list[BaseException] = []
        done = threading.Event()
        searches = [0, 0, 0]

        def read(reader: int) -> None:
            try:
                rng = np.random.default_rng(reader)
                queries = self.asked(6)
                while not done.is_set():
                    hits = index.search(queries, self.k)
                    assert all(len(set(r[r >= 0].tolist())) == (r >= 0).sum() for r in hits.rows), "a row twice"
                    rows = rng.choice(self.size, 40, replace=False)
                    hits = index.search(queries, 5, Selection.of_rows(rows, self.size))
                    assert np.isin(hits.rows[hits.rows >= 0], rows).all(), "a row that may not be answered"
                    self.whole(index, block, versions)
                    searches[reader] += 1
            except BaseException as error:
                trouble.append(error)

        readers = [threading.Thread(target=read, args=(i,)) for i in range(len(searches))]
        index.upsert(versions[0], block, ties=self.ties(3 * self.size))
        for reader in readers:
            reader.start()
        until, turn = time.monotonic() + self.seconds, 0
        try:
            while (time.monotonic() < until or turn < 8 or not all(searches)) and not trouble:
                turn += 1
                if turn % 4 == 3:
                    index.remove(block)
                    index.remove(np.arange(20, 20 + turn, dtype=np.int32))
                if turn % 16 == 7:
                    index.compact()
                index.upsert(versions[turn % len(versions)], block, ties=self.ties(3 * self.size))
        finally:
            done.set()
            for reader in readers:
                reader.join()
        if trouble:
            raise trouble[0]

    def whole(self, index: Index, block: np.ndarray, versions: list[Any]) -> int:
        """What was written at once is seen at once: the block's rows are all of one version, or all gone (-1)."""
        query = self.queries(1, seed=3)
        hits = index.search(query, len(block), Selection.of_rows(block, self.size))
        found = hits.scores[0, : hits.found[0]]
        possible = [np.zeros(0, np.float32)]
        for one in versions:
            scores = self.reference(query, one)[0]
            possible.append(-np.sort(-scores[scores > -np.inf]))
        for version, expected in enumerate(possible):
            if len(found) == len(expected) and (not self.absolute or np.allclose(found, expected, atol=self.tolerance)):
                return version - 1
        raise AssertionError(f"rows of several versions, or some of them only: {found.tolist()}")

    def test_saved_amid_changes_it_opens_as_it_was_between_two_of_them(self, tmp_path: Path) -> None:
        index = self.young().index
        block = np.arange(10, dtype=np.int32)
        versions = [self.items(len(block), seed=50 + i) for i in range(6)]
        done = threading.Event()
        trouble: list[BaseException] = []

        def write() -> None:
            turn = 0
            try:
                while not done.is_set():
                    index.upsert(versions[turn % len(versions)], block, ties=self.ties(3 * self.size))
                    index.remove(np.arange(20 + turn % 700, 21 + turn % 700))
                    turn += 1
                    time.sleep(0.001)
            except BaseException as error:
                trouble.append(error)

        index.upsert(versions[0], block, ties=self.ties(3 * self.size))
        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(4):
                folder = tmp_path / str(number)
                folder.mkdir()
                index.save(folder)
                opened = type(index).open(folder)
                assert self.whole(opened, block, versions) >= 0, "the block is always there"
                gone = Selection.of_rows(np.arange(20, 20 + self.size - len(opened)), self.size)
                assert (opened.search(self.queries(5), self.k, gone).rows == -1).all()
        finally:
            done.set()
            writer.join()
        if trouble:
            raise trouble[0]

    def test_what_was_opened_goes_on_where_it_was(self, tmp_path: Path) -> None:
        model = self.young()
        queries = self.asked(30)
        for wave, _ in enumerate(self.churned(model, 0.5, waves=4, seed=2)):
            if wave == 1:
                save_part(model.index, tmp_path)
                model.index = open_part(tmp_path)
                assert len(model.index) == len(model.rows)
                self.held(model, queries)
        self.held(model, queries)
        for share in SHARES:
            rows = np.random.default_rng(3).choice(len(model.place), max(1, round(share * self.size)), replace=False)
            self.held(model, queries, rows)

    @pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="bytes read are not counted here")
    def test_opening_maps_what_is_large(self, tmp_path: Path) -> None:
        items = self.items(self.mapped_size)
        index = self.fresh().build([items], ties=self.ties(self.mapped_size))
        index.save(tmp_path)
        size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
        type(index).open(tmp_path)  # what is imported first is not read again
        before = bytes_read()
        opened = type(index).open(tmp_path)
        read = bytes_read() - before
        assert read <= self.mapped * size, f"opening read {read:,} of {size:,} bytes"
        queries = self.queries(5)
        self.same(opened.search(queries, self.k), index.search(queries, self.k))

    def test_killed_while_it_saves_the_last_good_state_is_left(self, tmp_path: Path) -> None:
        index = self.young().index
        path = tmp_path / "index"
        with (
            Artifact.create(path, type=TYPE, format=FORMAT) as artifact,
            artifact.write(manifest={"removed": 0}) as folder,
        ):
            save_part(index, folder)
        rng, said = np.random.default_rng(11), 0
        for _ in range(self.kills):
            said = max(said, killed_while_saving(path, int(rng.integers(1, 4)), float(rng.random())))
            with Artifact.open(path, type=TYPE, format=FORMAT) as artifact:
                artifact.verify()
                removed = int(artifact.manifest["removed"])
                opened = open_part(artifact.folder)
                assert said <= removed <= said + 1, f"{said} were acknowledged, {removed} are there"
                assert len(opened) == self.size - removed
                gone = Selection.of_rows(np.arange(removed), self.size)
                assert (opened.search(self.queries(3), self.k, gone).rows == -1).all()
                said = removed
        assert said > 0


def bytes_read() -> int:
    """Bytes this process has read by system calls; pages of mapped files are not among them."""
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])


def save_until_killed(path: str) -> None:
    """In a process of its own: remove a row, save, say so; again and again."""
    with Artifact.open(path, type=TYPE, format=FORMAT) as artifact:
        removed, index = int(artifact.manifest["removed"]), open_part(artifact.folder)
        print("ready", flush=True)
        while True:
            index.remove(np.array([removed]))
            removed += 1
            with artifact.write(manifest={"removed": removed}) as folder:
                save_part(index, folder)
            print(removed, flush=True)


def killed_while_saving(path: Path, saves: int, moment: float) -> int:
    """Kill a process that saves, `moment` of a save after it has said `saves` of them; the last it said."""
    code = f"from itemspace.testing.index_life import save_until_killed as run; run({str(path)!r})"
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stderr is not None
    with writer:
        lines = [writer.stdout.readline()]
        began = time.monotonic()
        lines += [writer.stdout.readline() for _ in range(saves)]
        time.sleep(moment * (time.monotonic() - began) / saves)
        writer.kill()
        lines += writer.stdout.read().splitlines()
        problem = writer.stderr.read()
    assert lines[0].strip() == "ready", f"the writer failed: {problem}"
    assert "Traceback" not in problem, problem
    return int([line for line in lines if line.strip()][-1])
