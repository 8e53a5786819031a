"""WANDS, Wayfair's annotated product search: tab-separated `product.csv`, `query.csv`, `label.csv`.

Products: product_id, product_name, product_class, "category hierarchy" (levels separated by " / "), product_description,
product_features ("name : value" separated by "|"), rating_count, average_rating, review_count. Queries: query_id, query,
query_class. Labels: id, query_id, product_id, label. Fields are not quoted. Exact is grade 2, Partial 1, Irrelevant 0.

Source: wayfair/WANDS.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.data.files import load_csv, typed
from itemspace.data.frame import Frame
from itemspace.data.reader import Reader, Reading, head, queries_of

GRADES = {"Exact": 2.0, "Partial": 1.0, "Irrelevant": 0.0}
_KINDS = {
    "product_id": "id", "product_name": "text", "product_class": "category", "category_hierarchy": "list",
    "product_description": "text", "product_features": "list", "rating_count": "number", "average_rating": "number",
    "review_count": "number",
}  # fmt: skip


class WandsReader(Reader):
    """`product.csv`, `query.csv` and `label.csv`, tab-separated."""

    config: Config
    name = "wands"
    looks_for = "tab-separated product.csv, query.csv and label.csv (WANDS)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return (
            path.is_dir()
            and head(path / "product.csv", 11) == b"product_id\t"
            and (path / "query.csv").exists()
            and (path / "label.csv").exists()
        )

    def read(self, path: Path, reading: Reading) -> Dataset:
        files = {name: load_csv(path / name, reading.rejects, delimiter="\t", quoting=False)
                 for name in ("product.csv", "query.csv", "label.csv")}  # fmt: skip
        reading.files += list(files)
        products = files["product.csv"].renamed({"category hierarchy": "category_hierarchy"})
        for name, separator in (("category_hierarchy", " / "), ("product_features", "|")):
            if name in products:
                products = products.with_column(name, _split(products.column(name), separator))
        products = typed(products, reading.rejects, kinds={n: k for n, k in _KINDS.items() if k == "number" and n in products},
                         keep=["product_id", "product_name", "product_class", "product_description"])  # fmt: skip
        catalog = reading.catalog(products, kinds=_KINDS)
        asked = reading.unique(reading.with_ids(files["query.csv"], "query_id"), "query_id", "refuse")
        classes = {"query_class": np.array(asked.column("query_class").to_pylist())} if "query_class" in asked else {}
        queries = queries_of(asked.column("query_id").to_pylist(), asked.column("query").to_pylist(), classes)
        labels = graded(files["label.csv"], "label", GRADES, reading)
        catalog, judgments = reading.judgments(
            labels, catalog, queries, query="query_id", item="product_id", grade="grade"
        )
        return reading.dataset(
            path, self.name, catalog, queries=queries, judgments=judgments, source={"grades": GRADES}
        )


def _split(values: pa.Array, separator: str) -> pa.Array:
    return pc.split_pattern(pc.if_else(pc.equal(values, ""), pa.scalar(None, values.type), values), separator)


def graded(frame: Frame, column: str, grades: dict[str, float], reading: Reading) -> Frame:
    """`frame` with a column `grade` from labels in words; unknown labels are rejected."""
    labels = frame.column(column)
    at = pc.index_in(labels, pa.array(list(grades), labels.type))
    strange = np.asarray(at.is_null())
    known = ", ".join(grades)
    reading.rejects.add(
        frame.file,
        frame.rows[strange],
        column,
        labels.filter(pa.array(strange)).to_pylist(),
        f'"{{value}}" is not one of {known}',
    )
    frame = frame.with_column("grade", pa.array(list(grades.values())).take(at))
    return frame.filter(~strange)
