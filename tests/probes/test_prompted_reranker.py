"""A prompt built from a history, and a reranker that asks a (scripted) model with it."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itemspace.core.contracts import Retriever
from itemspace.core.errors import RequestError
from itemspace.core.hits import Hits
from itemspace.core.ragged import Ragged
from itemspace.core.requests import History, Requests
from itemspace.core.topk import top_k
from itemspace.encode.lsa import LSAEncoder
from itemspace.index.flat import FlatIndex
from itemspace.language.prompts import history_lines, parse_ranking, ranking_prompts, titles
from itemspace.language.protocol import LanguageModel, ScriptedModel
from itemspace.rank.prompted import PromptedReranker
from itemspace.testing.encoder import product_catalog
from itemspace.testing.retriever import RetrieverContract

CATALOG = product_catalog()
TITLES = CATALOG.texts(["title"])


class ByRow(Retriever):
    """Every item, the highest row first, filters and exclusions applied."""

    def search(self, requests, k, where=None):
        within = self.catalog.where(where)
        scores = np.tile(np.arange(len(self.catalog), dtype=np.float32), (len(requests), 1))
        scores[:, ~within.mask] = -np.inf
        if requests.exclude is not None:
            scores[requests.exclude.groups, requests.exclude.values] = -np.inf
        return Hits(*top_k(scores, k, self.catalog.ids.ties), self.catalog.ids)


def likes_same_color(prompt: str) -> str:
    """Puts first what shares the color of the newest item."""
    past, candidates = prompt.split("Candidates:")
    color = re.findall(r"^- (\w+)", past, re.M)[-1]
    numbered = re.findall(r"\[(\d+)\] (\w+)", candidates.split("\n\n")[0])
    return " > ".join(f"[{n}]" for n, word in sorted(numbered, key=lambda pair: pair[1] != color))


class TestPromptedReranker(RetrieverContract):
    def make(self, catalog):
        encoder = LSAEncoder(dimension=24).fit(catalog)
        first = (encoder >> FlatIndex()).build(catalog)
        return PromptedReranker(first, ScriptedModel(likes_same_color), depth=200).bind(catalog)

    def requests(self):
        texts = ["red boots", "blue tent 2", "lamp", "a green stove for winter"]
        return Requests.texts(texts, history=History(Ragged.from_lists([[3, 5], [7], [1, 2, 3], [50]])))


def row_of(word):
    return next(i for i, title in enumerate(TITLES) if title.startswith(word))


def test_the_model_orders_by_the_newest_of_the_history():
    retriever = PromptedReranker(ByRow(), ScriptedModel(likes_same_color), depth=100).bind(CATALOG)
    requests = Requests.histories([[row_of("blue"), row_of("red")], [row_of("red"), row_of("blue")]])
    hits = retriever.search(requests.excluding_history(), 5)
    for request, color in enumerate(["red", "blue"]):
        assert all(TITLES[row].startswith(color) for row in hits.rows[request])
        assert not np.isin(hits.rows[request], requests.history.items[request]).any()
    assert (np.diff(hits.scores, axis=1) < 0).all()


def test_reranking_only_reorders_the_first_depth():
    base = ByRow().bind(CATALOG)
    requests = Requests.histories([[0], []])
    for answer in ("[3] > [1]", "nonsense", "[99] [3] [3] [1]"):
        hits = (
            PromptedReranker(base, ScriptedModel(lambda _, answer=answer: answer), depth=4)
            .bind(CATALOG)
            .search(requests, 8)
        )
        plain = base.search(requests, 8)
        expected = [0, 1, 2, 3] if answer == "nonsense" else [2, 0, 1, 3]
        np.testing.assert_array_equal(hits.rows[:, :4], plain.rows[:, :4][:, expected])
        np.testing.assert_array_equal(hits.rows[:, 4:], plain.rows[:, 4:])


def test_filters_and_exclusions_hold():
    retriever = PromptedReranker(ByRow(), ScriptedModel(likes_same_color), depth=50).bind(CATALOG)
    exclude = Ragged.from_lists([np.arange(100, len(CATALOG)), []])
    requests = Requests(history=History(Ragged.from_lists([[row_of("red")], [row_of("blue")]])), exclude=exclude)
    hits = retriever.search(requests, 200)
    assert hits.found.tolist() == [100, 200]
    assert hits.rows[0].max() < 100
    assert np.isneginf(hits.scores[hits.rows < 0]).all()


def test_the_newest_are_kept_and_lines_stay_whole():
    requests = Requests.histories([[0, 1, 2, 3], [], [4]])
    lines = [f"- {TITLES[i]}" for i in range(4)]
    whole = history_lines(requests, TITLES)
    assert whole == ["\n".join(lines), "", f"- {TITLES[4]}"]
    room = len(lines[2]) + len(lines[3]) + 2
    assert history_lines(requests, TITLES, characters=room)[0] == "\n".join(lines[2:])
    assert history_lines(requests, TITLES, characters=room - 1)[0] == lines[3]
    assert history_lines(requests, TITLES, characters=0) == ["", "", ""]


@given(st.lists(st.lists(st.integers(0, 30), max_size=8), min_size=1, max_size=5), st.integers(0, 300))
def test_history_lines_mean_what_the_reference_says(rows, characters):
    made = history_lines(Requests.histories(rows), TITLES, characters=characters)
    for history, lines in zip(rows, made, strict=True):
        kept, used = [], 0
        for row in history[::-1]:
            used += len(TITLES[row]) + 3
            if used > characters:
                break
            kept.insert(0, f"- {TITLES[row]}")
        assert lines == "\n".join(kept)


def test_events_and_queries_are_told_and_ids_are_not():
    history = History(
        Ragged.from_lists([[0, 1]]), events=Ragged.from_lists([[1, -1]]), event_names=("view", "purchase")
    )
    prompt = ranking_prompts(Requests(history=history, text=("a rope",)), np.array([[2, 3, -1]]), CATALOG)[0]
    assert f"- {TITLES[0]} (purchase)\n- {TITLES[1]}\n" in prompt
    assert "look for: a rope" in prompt
    assert f"[1] {TITLES[2]}\n[2] {TITLES[3]}\n\n" in prompt
    assert not any(name in prompt for name in CATALOG.ids.values.to_pylist()[:4] if len(name) > 2)


@given(st.text(alphabet="[]0123456789 >,", max_size=40), st.integers(0, 12))
def test_any_answer_is_a_permutation(answer, n):
    assert sorted(parse_ranking(answer, n)) == list(range(n))


def test_a_request_without_history_is_refused():
    with pytest.raises(RequestError, match="history"):
        history_lines(Requests.texts(["boots"]), titles(CATALOG))


def test_the_scripted_model_is_a_language_model():
    model = ScriptedModel({"red": "one two three END four", "": "other"})
    assert isinstance(model, LanguageModel)
    assert model.complete(["a red hat", "blue"], max_tokens=2, stop=["END"]) == ["one two", "other"]
    assert model.prompts == ["a red hat", "blue"]
    with pytest.raises(RequestError, match="no answer"):
        ScriptedModel({"red": "x"}).complete(["blue"])
