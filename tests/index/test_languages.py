"""Words by language: vowel signs stay in their word, scripts without spaces become pieces, letters have one form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itemspace.core.vectors import Texts
from itemspace.index.bm25 import BM25Index
from itemspace.index.lexical.analyze import Analyzer, AnalyzerConfig
from itemspace.index.lexical.languages import normalized

LANGUAGES = ["ar", "bn", "en", "fi", "id", "ja", "ko", "ru", "sw", "te", "th"]


def words(text, language):
    return Analyzer(AnalyzerConfig(language=language)).words(text)


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("bn", "বাংলা ভাষার", ["বাংলা", "ভাষার"]),
        ("te", "తెలుగు భాష", ["తెలుగు", "భాష"]),
        ("ar", "الكِتَابُ العربيّة أحمد", ["الكتاب", "العربيه", "احمد"]),
        ("ru", "Ёлка и ели", ["елка", "и", "ели"]),
        ("fi", "Hääyöaie 3.5 km", ["hääyöaie", "3.5", "km"]),
        ("sw", "Mji mkuu wa Kenya ni upi?", ["mji", "mkuu", "wa", "kenya", "ni", "upi"]),
        ("ja", "東京タワーは333m", ["東京", "京タ", "タワ", "ワー", "ーは", "333m"]),
        ("ja", "木 と 水", ["木", "と", "水"]),
        ("ja", "ＡＢＣ ﾀﾜｰ", ["abc", "タワ", "ワー"]),
        ("ko", "서울의 인구 2020년", ["서울", "울의", "인구", "2020", "년"]),
        ("th", "กรุงเทพ 12", ["กรุ", "รุง", "ุงเ", "งเท", "เทพ", "12"]),
        ("en", "Running boots", ["run", "boot"]),
    ],
)
def test_words_of_each_language(language, text, expected):
    assert words(text, language) == expected


def test_without_a_language_vowel_signs_end_a_word():
    assert words("বাংলা", "any") != ["বাংলা"]


def test_english_stemming_is_for_english_only():
    assert words("running boots", "sw") == ["running", "boots"]
    assert words("the boots", "id") == ["the", "boots"]


@pytest.mark.parametrize("language", LANGUAGES)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_many_texts_at_once_are_the_texts_one_by_one(language, texts):
    analyzer = Analyzer(AnalyzerConfig(language=language, stopwords="none"))
    terms, owners = analyzer.encode(texts, grow=True)
    for number, text in enumerate(texts):
        expected = analyzer.words(text.replace("\x1e", " "))
        assert [analyzer.terms[t] for t in terms[owners == number]] == expected
        asked = {analyzer.terms[t]: n for t, n in analyzer.asked(text).items()}
        assert asked == {word: expected.count(word) for word in dict.fromkeys(expected)}


@pytest.mark.parametrize("language", LANGUAGES[:1] + LANGUAGES[3:])
@given(st.text(max_size=60))
def test_normalizing_twice_changes_nothing_more(language, text):
    once = normalized(text, language)
    assert normalized(once, language) == once


def test_an_index_keeps_its_language_and_old_ones_have_none(tmp_path):
    index = BM25Index(analyzer=AnalyzerConfig(language="th")).build([Texts({"t": ("กรุงเทพมหานคร", "เชียงใหม่")})])
    index.save(tmp_path)
    opened = BM25Index.open(tmp_path)
    assert opened.config.analyzer.language == "th"
    hits = opened.search(Texts({"query": ("เชียง",)}), 2)
    np.testing.assert_array_equal(hits.rows, [[1, -1]])
    assert AnalyzerConfig.parse({"stemmer": "none", "stopwords": "none"}).language == "any"
