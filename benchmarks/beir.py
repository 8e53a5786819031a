"""Reference runs and their leaderboard on judged collections, all queries, with a pretrained dense model beside the rest.

    python benchmarks/beir.py [--quick] [--datasets cranfield,cisi,limit,metatool,chorus]

Every collection is written as a BEIR folder; every arm's run is kept and reused, so a stopped run goes on where it was.
Writes docs/leaderboard.md: per collection nDCG@10, Recall@100 and effects against BM25 in one field.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import harness
import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.data.readers.beir import write_beir
from itemspace.evaluate.benches.beir import answers
from itemspace.evaluate.benches.references import MAKERS, References, bundled_model, word_columns
from itemspace.evaluate.leaderboard import board_page, make_board, store_run
from itemspace.evaluate.provenance import hardware, versions

SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cranfield": ("cranfield", ("title", "text")),
    "cisi": ("cisi", ("title", "text")),
    "limit": ("limit/limit-small", ()),
    "metatool": ("tools-metatool", ("title", "description")),
    "chorus": ("chorus", ("title", "supplier", "short_description")),
}
MOST = 1_000
"""Queries of a collection that are asked, the first ones."""
DEPTH = 1_000


def prepared(name: str, folder: Path) -> Dataset:
    """The collection as a BEIR folder, read back."""
    where, columns = SETS[name]
    if not (folder / "qrels" / "test.tsv").exists():
        data = Dataset.read(where, root=harness.data_folder())
        if data.queries is not None and data.judgments is not None and len(data.queries) > MOST:
            rows = np.arange(MOST)
            data = replace(data, queries=data.queries.take(rows), judgments=data.judgments.take(rows))
        write_beir(data, folder, columns=columns)
    return Dataset.read(folder, reader="beir")


def runs_of(data: Dataset, folder: Path, cache: Path, arms: Sequence[str], model: str | None) -> list[Path]:
    """A run file per arm, made where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    references = References(data.catalog, word_columns(data.catalog), model, cache)
    made = []
    for arm in arms:
        path = folder / f"{arm}.run"
        if not path.exists():
            began = time.perf_counter()
            aside = path.with_suffix(".part")
            store_run(aside, answers(references[arm].search, data, DEPTH), data, tag=arm)
            aside.replace(path)
            print(f"  {data.name} {arm}: {time.perf_counter() - began:.1f} s", flush=True)
        made.append(path)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default=",".join(SETS))
    parser.add_argument("--quick", action="store_true", help="LIMIT-small and MetaTool, without a pretrained model")
    parser.add_argument("--out", type=Path, default=harness.HOME / "docs" / "leaderboard.md")
    given = parser.parse_args()
    names = ["limit", "metatool"] if given.quick else given.datasets.split(",")
    model = None if given.quick else bundled_model()
    arms = [arm for arm in MAKERS if arm != "minilm" or model is not None]
    base = harness.workspace("beir")
    datasets, runs = {}, {}
    for name in names:
        print(name, flush=True)
        datasets[name] = prepared(name, base / "data" / name)
        runs[name] = runs_of(datasets[name], base / "runs" / name, base / "vectors", arms, model)
    board = make_board(runs, datasets)
    machine = hardware()
    told = ", ".join(f"{name} {version}" for name, version in versions().items())
    page = board_page(board, title="Leaderboard of reference runs")
    page += (
        "\nZero-shot: no arm saw a query or a judgment. `minilm` is all-MiniLM-L6-v2; `lsa` and `impacts` learned from each "
        "collection's texts, seed 0; latent semantic analysis' defaults were once chosen on half of Cranfield's and CISI's "
        f"queries. At most the first {MOST:,} queries of a collection. Machine: {machine.get('processor')}, "
        f"{machine.get('cores')} cores, threads {os.environ.get('OMP_NUM_THREADS', 'any')}. {told}.\n"
    )
    if given.quick:
        print(page)
    else:
        given.out.write_text(page, encoding="utf-8")
        print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
