"""RetroTech: a product catalogue and simulated click sessions (AI-Powered Search).

`products.tgz` holds `products.csv` (upc, name, manufacturer, short_description, long_description; a lone space for
nothing, descriptions with stray quotes: fields beyond the fifth are the rest of the long description).
`sessions/QUERY_sessions.gz` hold `sess_id,query,rank,clicked_doc_id,clicked` for 5,000 sessions of one query each;
document numbers have lost their leading zeros, and so have the item IDs here. Session numbers repeat across queries.

Some UPCs occur several times under other names: the first is kept (see `source` for the count), `duplicates=` says
otherwise. Documents that sessions show but the catalogue lacks are items with an ID only; `unknown="refuse"` refuses.

Source: ai-powered-search/retrotech.
"""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.data.files import load_csv
from itemspace.data.frame import Frame
from itemspace.data.impressions import impressions_of
from itemspace.data.reader import Reader, Reading, queries_of

_COLUMNS = ["upc", "name", "manufacturer", "short_description", "long_description"]
_KINDS = {
    "upc": "id",
    "name": "text",
    "manufacturer": "category",
    "short_description": "text",
    "long_description": "text",
}


class RetroTechReader(Reader):
    """`products.tgz` with `sessions/*_sessions.gz`."""

    config: Config
    name = "retrotech"
    looks_for = "products.tgz with sessions/*_sessions.gz (RetroTech)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return path.is_dir() and (path / "products.tgz").exists() and any((path / "sessions").glob("*_sessions.gz"))

    def read(self, path: Path, reading: Reading) -> Dataset:
        products = _products(path / "products.tgz", reading)
        catalog = reading.catalog(products, kinds=_KINDS, duplicates="first")
        files = sorted((path / "sessions").glob("*_sessions.gz"))
        sessions = [load_csv(file, reading.rejects) for file in files]
        reading.files += [file.name for file in files]
        table = pa.concat_tables([part.table for part in sessions])
        shown = Frame(table, "sessions", np.concatenate([part.rows for part in sessions]))
        shown = shown.with_column("clicked", pc.equal(pc.utf8_lower(shown.column("clicked")), "true"))
        catalog, impressions = impressions_of(
            reading, shown, catalog, request="sess_id", item="clicked_doc_id", position="rank", outcome="clicked",
            query="query", unknown="add",
        )  # fmt: skip
        queries = queries_of(impressions.queries, impressions.queries)
        source = {"products": len(products), "sessions": int(impressions.request.max()) + 1}
        return reading.dataset(path, self.name, catalog, impressions=impressions, queries=queries, source=source)


def _products(file: Path, reading: Reading) -> Frame:
    reading.files.append(file.name)
    try:
        with tarfile.open(file) as archive:
            member = next(m for m in archive.getmembers() if m.name.endswith("products.csv"))
            opened = archive.extractfile(member)
            assert opened is not None
            text = opened.read().decode()
    except (tarfile.TarError, StopIteration, OSError, EOFError) as error:
        raise DataError(f"not a tar archive with products.csv ({error}).", file=file.name) from None
    rows = list(csv.reader(io.StringIO(text)))[1:]
    short = np.array([len(row) < 2 for row in rows])
    reading.rejects.add(
        "products.csv",
        np.flatnonzero(short) + 1,
        "",
        [",".join(rows[at]) for at in np.flatnonzero(short)],
        "fewer than 2 fields",
    )
    full = [
        [*row[:4], ",".join(row[4:])] + [""] * (5 - max(len(row), 5)) if len(row) > 4 else row + [""] * (5 - len(row))
        for row in rows
    ]
    uneven = sum(len(row) != 5 for row in rows)
    if uneven:
        reading.notes.append(
            f"products.csv: {uneven:,} rows with stray quotes: further fields joined to the last, absent ones empty"
        )
    columns = {
        name: pa.array([row[at].strip() or None for row in full], pa.large_string()) for at, name in enumerate(_COLUMNS)
    }
    columns["upc"] = pc.utf8_ltrim(columns["upc"], "0")
    return Frame.of(pa.table(columns), "products.csv").filter(~short)
