"""Amazon's Shopping Queries Dataset (ESCI): `shopping_queries_dataset_examples.parquet` and `..._products.parquet`.

Examples: example_id, query, query_id, product_id, product_locale, esci_label (E, S, C, I), small_version, large_version,
split. Products: product_id, product_title, product_description, product_bullet_point, product_brand, product_color,
product_locale. A product ID repeats across locales, so with several locales the item ID is "locale/product_id".

`version`: small (task 1) or large. `split`: train, test or None for both. Gains: the paper gives E 1, S .1, C .01, I 0;
the published evaluation script has S and C the other way round. `gains` picks "paper" or "script"; say which.

Source: amazon-science/esci-data; Reddy et al. 2022, section 4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.ids import string_ids
from itemspace.data.columns import mask
from itemspace.data.files import load_parquet
from itemspace.data.frame import Frame
from itemspace.data.reader import Reader, Reading, one, queries_of
from itemspace.data.readers.wands import graded

GAINS = {"paper": {"E": 1.0, "S": 0.1, "C": 0.01, "I": 0.0}, "script": {"E": 1.0, "S": 0.01, "C": 0.1, "I": 0.0}}
EXAMPLES = (
    "example_id", "query", "query_id", "product_id", "product_locale", "esci_label", "small_version", "large_version", "split",
)  # fmt: skip
PRODUCTS = (
    "product_id", "product_title", "product_description", "product_bullet_point", "product_brand", "product_color",
    "product_locale",
)  # fmt: skip
_KINDS = {
    "item_id": "id", "product_id": "category", "product_title": "text", "product_description": "text",
    "product_bullet_point": "text", "product_brand": "category", "product_color": "category", "product_locale": "category",
}  # fmt: skip


class EsciConfig(Config):
    """version, split, locale: which examples (None: all). gains: which reading of S and C."""

    version: Literal["small", "large"] = "small"
    split: Literal["train", "test"] | None = None
    locale: str | None = None
    gains: Literal["paper", "script"] = "paper"


class EsciReader(Reader):
    """The examples and products files of one folder."""

    config: EsciConfig
    name = "esci"
    looks_for = "*examples.parquet with *products.parquet (ESCI)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        examples = list(path.glob("*examples.parquet")) if path.is_dir() else []
        if not examples or not any(path.glob("*products.parquet")):
            return False
        try:
            return "esci_label" in pa.parquet.read_schema(examples[0]).names
        except (pa.ArrowInvalid, OSError):
            return False

    def read(self, path: Path, reading: Reading) -> Dataset:
        examples, products = one(path, "*examples.parquet"), one(path, "*products.parquet")
        assert examples is not None
        assert products is not None
        reading.files += [examples.name, products.name]
        judged = self._chosen(load_parquet(examples, reading.rejects))
        items = load_parquet(products, reading.rejects)
        if self.config.locale:
            items = items.filter(mask(pc.equal(items.column("product_locale"), self.config.locale)))
        several = len(items.column("product_locale").unique()) > 1
        catalog = reading.catalog(_identified(items, several), kinds=_KINDS)
        judged = reading.with_ids(_identified(judged, several), "query_id")
        codes = judged.column("query_id").dictionary_encode()
        first = np.unique(np.asarray(codes.indices), return_index=True)[1]
        asked = judged.take(first)
        attributes = {"locale": np.array(asked.column("product_locale").to_pylist())}
        queries = queries_of(asked.column("query_id").to_pylist(), asked.column("query").to_pylist(), attributes)
        gains = GAINS[self.config.gains]
        labels = graded(judged, "esci_label", gains, reading)
        catalog, judgments = reading.judgments(
            labels, catalog, queries, query="query_id", item="item_id", grade="grade"
        )
        source = {**self.config.model_dump(), "grades": gains}
        return reading.dataset(path, self.name, catalog, queries=queries, judgments=judgments, source=source)

    def _chosen(self, frame: Frame) -> Frame:
        wanted = self.config
        keep = np.asarray(frame.column(f"{wanted.version}_version")) == 1
        for column, value in (("split", wanted.split), ("product_locale", wanted.locale)):
            if value is not None:
                keep &= mask(pc.equal(frame.column(column), value))
        if not keep.any():
            raise DataError(f"no example has {wanted.model_dump()}.", file=frame.file)
        return frame.filter(keep)


def _identified(frame: Frame, several: bool) -> Frame:
    """`frame` with `item_id`: the product ID, behind its locale when there are several."""
    ids = string_ids(frame.column("product_id"))
    if several:
        slash = pa.scalar("/", pa.large_string())
        ids = pc.binary_join_element_wise(string_ids(frame.column("product_locale")), ids, slash)
    return frame.with_column("item_id", ids)


def write_esci(folder: Path, *, examples: pa.Table, products: pa.Table) -> None:
    """The two files of the dataset from tables that have its columns.

    Raises:
        DataError: a column is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for table, columns, name in ((examples, EXAMPLES, "examples"), (products, PRODUCTS, "products")):
        missing = [column for column in columns if column not in table.column_names]
        if missing:
            raise DataError(f"the {name} have no column `{missing[0]}`", file=str(folder))
        pa.parquet.write_table(table.select(list(columns)), folder / f"shopping_queries_dataset_{name}.parquet")
