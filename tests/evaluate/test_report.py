"""The `Report` value: what it keeps, what it prints, and that nothing printed can run."""

import math
import re
import xml.dom.minidom
from html.parser import HTMLParser

import pytest

from itemspace.core.charts import ticks
from itemspace.core.errors import ArtifactError, FormatVersionError
from itemspace.core.report import Comparison, Curve, Measure, Report, decimal, p_value, signed

EVIL = "<script>alert('x')</script>\"&"


def sample(name="ease"):
    measures = tuple(
        Measure(metric, arm, value, value - 0.01, value + 0.01, 500, cut, label, (value, value + 0.001))
        for metric in ("ndcg@10", "recall@10")
        for cut, label in (("all", "all"), ("target", "head"), ("target", "cold"))
        for arm, value in (("popularity", 0.0123), (name, 0.0897))
    )
    whole = Measure("coverage@10", name, 0.5, n=500)
    compared = Comparison("ndcg@10", name, "popularity", 0.0774, 0.06, 0.09, 0.002, 0.0001, 0.0002, 500, 300, 20)
    curves = (
        Curve("recall", name, (1.0, 10.0, 100.0), (0.1, 0.2, 0.4)),
        Curve("difference in ndcg@10", name, (0.0, 1.0), (-0.5, 1.0)),
    )
    facts = {"data": "abc123", "seeds": {name: 2}, "budget": None, "seconds": 1.5}
    return Report(
        "Beauty, leave-one-out", (*measures, whole), (compared,), curves, ("Read this.",), facts, ("ndcg@10",)
    )


def test_json_round_trip_keeps_everything():
    report = sample()
    again = Report.from_json(report.to_json())
    assert again.to_json() == report.to_json()
    assert again.measure("ndcg@10", "ease") == report.measure("ndcg@10", "ease")
    assert math.isnan(again.measure("coverage@10").low)
    assert again.comparisons == report.comparisons
    assert "NaN" not in report.to_json()


def test_names_find_numbers():
    report = sample()
    assert report.value("ndcg@10", "ease", "target", "cold") == 0.0897
    assert report.arms == ("popularity", "ease")
    assert report.slices == {"target": ("head", "cold")}
    with pytest.raises(KeyError, match=r"no map.*recall@10"):
        report.measure("map")
    with pytest.raises(KeyError, match="was not compared"):
        report.comparison("recall@10", "ease")


def test_terminal_shows_the_numbers():
    text = sample().terminal(width=110)
    for wanted in (
        "Beauty, leave-one-out",
        ".0897",
        "[.0797, .0997]",
        "+.0774",
        "<.001",
        "300 / 20",
        "cold",
        "Read this.",
        "abc123",
    ):
        assert wanted in text
    assert "ease leads in ndcg@10 with .0897" in text
    assert "\x1b" not in text
    assert "\x1b" in sample().terminal(width=110, color=True)


def test_the_headline_of_a_leading_baseline_tells_of_the_runner_up():
    measures = (Measure("mrr", "old", 0.5), Measure("mrr", "new", 0.49), Measure("mrr", "bad", 0.1))
    compared = tuple(
        Comparison("mrr", a, "old", d, d - 0.1, d + 0.1, 0.5, 0.5, 0.6, 9, 1, 2)
        for a, d in (("new", -0.01), ("bad", -0.4))
    )
    told = Report("x", measures, compared, primary=("mrr",)).headline
    assert told == "old leads in mrr with .5000, new -.0100 to old (not told apart from chance, corrected p .600)."


def test_the_page_holds_the_numbers_and_reaches_for_nothing():
    page = sample().html()
    for wanted in (
        "Beauty, leave-one-out",
        ".0897",
        "+.0774",
        "coverage@10",
        "prefers-color-scheme: dark",
        "abc123",
        "cold",
    ):
        assert wanted in page
    assert page.count("<svg") >= 6
    assert not re.search(r"(src|href)\s*=|https?://|@import|url\(", page)
    assert "<script" not in page


class Tags(HTMLParser):
    """Every element, and whether the non-void ones are closed in order."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


def test_everything_printed_is_escaped():
    report = sample(EVIL)
    evil = Report(
        EVIL,
        (
            *report.measures,
            Measure(EVIL, EVIL, 0.5, 0.4, 0.6, 3),
            Measure("ndcg@10", EVIL, 0.5, 0.4, 0.6, 3, EVIL, EVIL),
        ),
        (*report.comparisons, Comparison(EVIL, EVIL, EVIL, 1, 0, 2, 0.5, 0.5, 0.5, 9, 1, 1)),
        (*report.curves, Curve(EVIL, EVIL, (1, 2), (0.1, 0.2))),
        (EVIL,),
        {EVIL: {EVIL: [EVIL]}},
        ("ndcg@10", EVIL),
    )
    page = evil.html()
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.seen
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    for drawing in re.findall(r"<svg.*?</svg>", page, re.S):
        xml.dom.minidom.parseString(drawing)


@pytest.mark.parametrize(
    "report", [Report("nothing"), Report("one", (Measure("mrr", "a", math.nan),), primary=("mrr",))]
)
def test_reports_with_little_in_them_still_print(report):
    assert report.title in report.html()
    assert report.title in report.terminal()
    assert Report.from_json(report.to_json()).to_json() == report.to_json()


def test_save_and_open(tmp_path):
    folder = sample().save(tmp_path / "made" / "here")
    assert sorted(p.name for p in folder.iterdir()) == ["report.html", "report.json", "report.txt"]
    assert Report.open(folder).to_json() == sample().to_json()
    with pytest.raises(ArtifactError, match="No such file"):
        Report.open(tmp_path / "missing.json")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "title": "x", "measures": [{"a": 1}]}']
)
def test_what_is_not_a_report_is_refused(text):
    with pytest.raises(ArtifactError):
        Report.from_json(text)


def test_a_newer_format_is_refused():
    with pytest.raises(FormatVersionError, match="format 99"):
        Report.from_json('{"format": 99}')


def test_numbers_as_people_print_them():
    assert [decimal(x) for x in (0.0897, 1.0, -0.5, 12.34, 1234.5, math.nan)] == [
        ".0897",
        "1.0000",
        "-.5000",
        "12.3",
        "1,234.5",
        "-",
    ]
    assert [p_value(p) for p in (0.0004, 0.031, 1.0, math.nan)] == ["<.001", ".031", "1.000", "-"]
    assert [signed(x) for x in (0.01, -0.01, 0.0, -1e-9, 1e-9)] == ["+.0100", "-.0100", ".0000", ".0000", ".0000"]


def test_ticks_are_round_and_inside():
    assert ticks(0, 0.37) == [0, 0.1, 0.2, 0.3]
    assert ticks(-1, 1) == [-1, -0.5, 0, 0.5, 1]
    assert ticks(2, 2) == [2]
