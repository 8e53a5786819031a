"""Words from text, and stems against published examples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itemspace.index.lexical.analyze import Analyzer, AnalyzerConfig, fold
from itemspace.index.lexical.porter import porter2
from itemspace.index.lexical.stem import s_stem

PUBLISHED = [
    "consign",
    "consign",
    "consigned",
    "consign",
    "consigning",
    "consign",
    "consignment",
    "consign",
    "consist",
    "consist",
    "consisted",
    "consist",
    "consistency",
    "consist",
    "consistent",
    "consist",
    "consistently",
    "consist",
    "consisting",
    "consist",
    "consists",
    "consist",
    "consolation",
    "consol",
    "consolations",
    "consol",
    "consolatory",
    "consolatori",
    "console",
    "consol",
    "consoled",
    "consol",
    "consoles",
    "consol",
    "consolidate",
    "consolid",
    "consolidated",
    "consolid",
    "consolidating",
    "consolid",
    "consoling",
    "consol",
    "consolingly",
    "consol",
    "consols",
    "consol",
    "consonant",
    "conson",
    "consort",
    "consort",
    "consorted",
    "consort",
    "consorting",
    "consort",
    "conspicuous",
    "conspicu",
    "conspicuously",
    "conspicu",
    "conspiracy",
    "conspiraci",
    "conspirator",
    "conspir",
    "conspirators",
    "conspir",
    "conspire",
    "conspir",
    "conspired",
    "conspir",
    "conspiring",
    "conspir",
    "constable",
    "constabl",
    "constables",
    "constabl",
    "constance",
    "constanc",
    "constancy",
    "constanc",
    "constant",
    "constant",
    "knack",
    "knack",
    "knackeries",
    "knackeri",
    "knacks",
    "knack",
    "knag",
    "knag",
    "knave",
    "knave",
    "knaves",
    "knave",
    "knavish",
    "knavish",
    "kneaded",
    "knead",
    "kneading",
    "knead",
    "knee",
    "knee",
    "kneel",
    "kneel",
    "kneeled",
    "kneel",
    "kneeling",
    "kneel",
    "kneels",
    "kneel",
    "knees",
    "knee",
    "knell",
    "knell",
    "knelt",
    "knelt",
    "knew",
    "knew",
    "knick",
    "knick",
    "knif",
    "knif",
    "knife",
    "knife",
    "knight",
    "knight",
    "knightly",
    "knight",
    "knights",
    "knight",
    "knit",
    "knit",
    "knits",
    "knit",
    "knitted",
    "knit",
    "knitting",
    "knit",
    "knives",
    "knive",
    "knob",
    "knob",
    "knobs",
    "knob",
    "knock",
    "knock",
    "knocked",
    "knock",
    "knocker",
    "knocker",
    "knockers",
    "knocker",
    "knocking",
    "knock",
    "knocks",
    "knock",
    "knopp",
    "knopp",
    "knot",
    "knot",
    "knots",
    "knot",
    "gas",
    "gas",
    "this",
    "this",
    "gaps",
    "gap",
    "kiwis",
    "kiwi",
    "ties",
    "tie",
    "cries",
    "cri",
    "by",
    "by",
    "say",
    "say",
    "cry",
    "cri",
    "sky",
    "sky",
    "skies",
    "sky",
    "dying",
    "die",
    "news",
    "news",
    "hoped",
    "hope",
    "hopping",
    "hop",
    "hoping",
    "hope",
    "luxuriated",
    "luxuri",
    "generate",
    "generat",
    "generously",
    "generous",
    "communication",
    "communic",
    "arsenal",
    "arsenal",
    "hopefulness",
    "hope",
    "relational",
    "relat",
    "rational",
    "ration",
    "troubled",
    "troubl",
    "sized",
    "size",
    "falling",
    "fall",
    "bled",
    "bled",
    "feed",
    "feed",
    "agreed",
    "agre",
    "electriciti",
    "electr",
    "adoption",
    "adopt",
    "controll",
    "control",
    "roll",
    "roll",
]
"""Word and stem, alternately: the sample vocabulary of the algorithm's page and examples from its text."""


@pytest.mark.parametrize(("word", "stem"), list(zip(PUBLISHED[::2], PUBLISHED[1::2], strict=True)))
def test_porter2_against_published_examples(word, stem):
    assert porter2(word) == stem


@given(st.text(alphabet="aeioustyrlndgmiz'", min_size=1, max_size=14))
def test_stems_never_grow_and_never_vanish(word):
    for stem in (porter2, s_stem):
        assert 0 < len(stem(word)) <= len(word) + 1


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        ("boots", "boot"),
        ("skies", "sky"),
        ("dress", "dress"),
        ("bus", "bus"),
        ("boxes", "boxe"),
        ("shoes", "shoe"),
        ("queries", "query"),
        ("is", "is"),
    ],
)
def test_s_stemmer(word, stem):
    assert s_stem(word) == stem


def test_words_are_folded_and_cut():
    analyzer = Analyzer(AnalyzerConfig(stemmer="none"))
    assert analyzer.words("Café Crème 5.5in — Women's snow_boots, don’t! Straße 日本語 v2.0") == [
        "cafe",
        "creme",
        "5.5",
        "in",
        "women",
        "snow",
        "boots",
        "dont",
        "strasse",
        "日本語",
        "v2",
        "0",
    ]
    assert fold("ÅNGSTRÖM") == "angstrom"
    english = Analyzer(AnalyzerConfig(stemmer="porter2", stopwords="english"))
    assert english.words("The boots and the tents") == ["boot", "tent"]


@given(st.lists(st.text(max_size=20), max_size=8))
def test_a_batch_is_its_texts_one_by_one(texts):
    analyzer = Analyzer(AnalyzerConfig())
    terms, owner = analyzer.encode(texts, grow=True)
    got = [
        [analyzer.terms[t] for t, o in zip(terms.tolist(), owner.tolist(), strict=True) if o == i]
        for i in range(len(texts))
    ]
    assert got == [analyzer.words(text.replace("\x1e", " ")) for text in texts]
    known, _ = Analyzer(AnalyzerConfig(stopwords="none"), analyzer.terms).encode(texts, grow=False)
    assert known.tolist() == terms.tolist()


@given(st.lists(st.lists(st.sampled_from(["the", "for", "who", "tent", "two", "unheard"]), max_size=5), max_size=6))
def test_stop_words_are_asked_for_where_nothing_else_is(queries):
    analyzer = Analyzer(AnalyzerConfig(stemmer="none"))
    analyzer.encode(["the tent for two", "the who"], grow=True)
    terms, owner = analyzer.encode([" ".join(words) for words in queries], grow=False)
    for i, words in enumerate(queries):
        rest = [word for word in words if word not in ("the", "for")]
        asked = [word for word in (rest or words) if word != "unheard"]
        assert [analyzer.terms[t] for t in terms[owner == i]] == asked
