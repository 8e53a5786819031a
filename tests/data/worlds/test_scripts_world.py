"""Other scripts: the same world, so an analysis that reads the script finds what the Latin one has."""

import numpy as np
import pytest

from itemspace.core.errors import RequestError
from itemspace.data.splits.queries import query_task
from itemspace.data.worlds.scripts import PARTICLES, in_script
from itemspace.data.worlds.topics import topics
from itemspace.encode.fields import TextFields
from itemspace.evaluate.evaluation import evaluate
from itemspace.index.bm25 import BM25Index
from itemspace.index.lexical.analyze import AnalyzerConfig

BASE = topics(200, 80, lists=10, rng=0).data


def value(data, language):
    index = BM25Index(analyzer=AnalyzerConfig(language=language, stemmer="none", stopwords="none"))
    return evaluate((TextFields() >> index).build(data.catalog), query_task(data), ["ndcg@10"], k=10)["ndcg@10"]


@pytest.mark.parametrize("language", ["ar", "bn", "ja", "ko", "ru", "te", "th"])
def test_the_words_are_the_same_words(language):
    data = in_script(BASE, language)
    assert data.catalog.ids is BASE.catalog.ids
    np.testing.assert_array_equal(data.judgments.grades, BASE.judgments.grades)
    assert len(set(data.queries.texts)) == len(set(BASE.queries.texts)), "no two words fell together"
    assert not any(letter in text for text in data.queries.texts for letter in "bdfgklmnprstvzaeiou")
    right = value(data, language)
    latin = value(BASE, "sw")
    assert right > latin - (0.02 if language in ("ar", "bn", "ru", "te") else 0.12), (right, latin)


@pytest.mark.parametrize("language", ["bn", "ja", "ko", "te", "th"])
def test_spaces_and_letters_alone_lose_them(language):
    data = in_script(BASE, language)
    assert value(data, "any") < value(data, language) - 0.05


def test_what_a_script_does():
    assert " " not in in_script(BASE, "ja").queries.texts[0]
    korean = in_script(BASE, "ko").catalog.texts(["title"])[0]
    assert sum(word.endswith(PARTICLES) for word in korean.split()) >= 3
    assert in_script(BASE, "fi") is BASE
    with pytest.raises(RequestError, match='no script for "xx"'):
        in_script(BASE, "xx")
