"""Which columns make the text of an item, and `TextFields`: words as they are, for lexical indexes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import Field

from itemspace.core.catalog import Catalog, join_columns
from itemspace.core.config import Config
from itemspace.core.contracts import Encoder, Role
from itemspace.core.errors import RequestError
from itemspace.core.hashing import fingerprint
from itemspace.core.requests import Requests
from itemspace.core.vectors import Texts, VectorSpace

QUERY_FIELD = "query"
"""The one field of the `Texts` that requests become; an index matches it against all of its own fields."""


def item_texts(catalog: Catalog, columns: Sequence[str] = ()) -> list[str]:
    """One string per item: `columns` (default: every column of words) joined by a space, missing values left out."""
    for name in columns:
        catalog.schema[name]  # refuses an unknown column with the nearest one
    return catalog.texts(columns or None)


def request_texts(requests: Requests, *, by: str) -> tuple[str, ...]:
    """The text of every request, valid Unicode; a missing one is empty.

    Raises:
        RequestError: the batch has no text column.
    """
    if requests.text is None:
        raise RequestError(f"{by} answers requests with text; these have {', '.join(sorted(requests.columns))}.")
    return tuple(valid_text(text or "") for text in requests.text)


def valid_text(text: str) -> str:
    """`text` with lone surrogates, which no file or tokenizer can hold, replaced by question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


class TextFieldsConfig(Config):
    columns: tuple[str, ...] = Field((), description="columns to index, each its own field; default: all with words")


class TextFields(Encoder):
    """Catalogue columns as `Texts`, one field each, and request texts as the field "query".

    It learns nothing: put it before a lexical index, `TextFields(columns=("title", "brand")) >> BM25Index()`.
    """

    config: TextFieldsConfig
    consumes = ("text",)

    @property
    def space(self) -> VectorSpace:
        """Words are a space of their own: dimension 0, scored by dot product."""
        print_ = fingerprint(self.path(), self.config.model_dump(mode="json"))
        return VectorSpace(f"text-{print_}", 0, "dot", normalized=False)

    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Texts:
        """`Texts` with a field per column (catalogue) or the field "query" (requests).

        Raises:
            SchemaError: a configured column is not in the catalogue.
            RequestError: the requests have no text, or the catalogue has no column of words.
        """
        if isinstance(inputs, Requests):
            return Texts({QUERY_FIELD: request_texts(inputs, by=type(self).__name__)})
        columns = self.config.columns or tuple(inputs.text_columns())
        if not columns:
            raise RequestError("the catalogue has no column of words; name one with `columns`.")
        for name in columns:
            inputs.schema[name]
        return Texts({name: tuple(join_columns(inputs.table, [name])) for name in columns})

    def save(self, folder: Path) -> None:
        (folder / "encoder.json").write_text(json.dumps({"config": self.config.model_dump(mode="json")}, indent=1))

    @classmethod
    def open(cls, folder: Path) -> Self:
        return cls(cls.config_class().parse(json.loads((folder / "encoder.json").read_text())["config"]))
