"""`PromptedReranker`: a language model orders what a retriever found, from a prompt of the user's history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np

from itemspace.core.asking import check_k
from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Retriever
from itemspace.core.errors import ContractError
from itemspace.core.hits import Hits
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.language.prompts import parse_ranking, ranking_prompts
from itemspace.language.protocol import LanguageModel

if TYPE_CHECKING:
    from itemspace.core.where import Expression

    Filter: TypeAlias = str | Expression | Selection | None


class PromptedReranker(Retriever):
    """The first `depth` hits of `retriever`, in the order a language model gives them; the rest as they were.

    The model sees the titles of the history (newest kept within `characters`) and of the candidates, never an ID. It can
    only reorder: an answer that names nothing leaves the order as it was. Scores are 1 / rank.
    Source: listwise reranking by permutation, Sun et al. 2023 (RankGPT), one window.
    """

    def __init__(
        self,
        retriever: Retriever,
        model: LanguageModel,
        *,
        depth: int = 20,
        column: str | None = None,
        characters: int = 2000,
    ) -> None:
        self.retriever, self.model, self.depth = retriever, model, depth
        self.column, self.characters = column, characters

    def bind(self, catalog: Catalog) -> Self:
        self.retriever.bind(catalog)
        return super().bind(catalog)

    def search(self, requests: Requests, k: int, where: Filter = None) -> Hits:
        check_k(k)
        if self.catalog is None:
            raise ContractError("PromptedReranker writes titles: bind(catalog) first.")
        found = self.retriever.search(requests, max(k, self.depth), where)
        candidates = found.rows[:, : self.depth]
        prompts = ranking_prompts(requests, candidates, self.catalog, column=self.column, characters=self.characters)
        answers = self.model.complete(prompts, max_tokens=8 * self.depth, temperature=0.0)
        counts = (candidates >= 0).sum(1).tolist()
        rows = found.rows.copy()
        for at, (answer, count) in enumerate(zip(answers, counts, strict=True)):  # one completion each
            rows[at, :count] = candidates[at, parse_ranking(answer, count)]
        rank = np.broadcast_to(1 / np.arange(1, rows.shape[1] + 1, dtype=np.float32), rows.shape)
        scores = np.where(rows >= 0, rank, -np.inf).astype(np.float32)
        return Hits(rows[:, :k], scores[:, :k], found.ids or self.catalog.ids, total=found.total)
