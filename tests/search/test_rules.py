"""Rules that do not say something applicable are refused: by number, name, key and value, with the way out."""

import datetime
import json

import pytest

from itemspace.search import Rule, RuleError, Rules

BOOST = {"name": "b", "action": "boost", "where": "in_stock", "factor": 2}
PIN = {"name": "p", "action": "pin", "items": ["P001"]}

WRONG = [
    (BOOST | {"facter": 3}, "facter", "Did you mean `factor`"),
    (BOOST | {"factor": "many"}, "factor", "should be a number, got 'many'"),
    (BOOST | {"factor": 0.5}, "factor", "above 1.*0.5.*`bury` does the other"),
    (BOOST | {"action": "bury"}, "factor", "between 0 and 1"),
    (BOOST | {"factor": float("nan")}, "factor", "above 1"),
    (BOOST | {"factor": float("inf")}, "factor", "above 1"),
    (BOOST | {"points": 1}, "factor", "one of the two"),
    ({"name": "b", "action": "boost", "where": "in_stock"}, "factor", "how much"),
    ({"name": "b", "action": "boost", "where": "in_stock", "points": -1}, "points", "above 0"),
    ({"name": "b", "action": "boost", "factor": 2}, "where", "which items to boost"),
    (BOOST | {"where": "price <"}, "where", "no filter"),
    (BOOST | {"action": "raise"}, "action", "'boost', 'bury', 'pin' or 'exclude'"),
    (BOOST | {"items": ["P001"]}, "items", "go with pin"),
    ({"name": "x", "action": "exclude", "where": "in_stock", "factor": 2}, "factor", "does not go with exclude"),
    ({"action": "pin", "items": ["P001"]}, "name", "missing"),
    ({"name": "p", "action": "pin"}, "items", "say which to pin"),
    (PIN | {"where": "in_stock"}, "where", "does not go with pin"),
    (PIN | {"positions": [1, 2]}, "positions", "one per item: 1, got 2"),
    (PIN | {"positions": [0]}, "positions", "from 1 to"),
    (PIN | {"items": ["a", "b"], "positions": [2, 2]}, "positions", "twice"),
    (PIN | {"items": ["a", "a"]}, "items", "twice"),
    (PIN | {"context": "checkout"}, "context.0", "search"),
    (PIN | {"query": "boots", "context": "recommend"}, "query", "about searches"),
    (PIN | {"contains": "!!"}, "contains", "should hold words"),
    (BOOST | {"even_if_seen": True}, "even_if_seen", "goes with pin"),
    (PIN | {"active_from": "2026-02-01", "active_until": "2026-01-01"}, "active_until", "is before"),
    (PIN | {"active_from": "soon"}, "active_from", "soon"),
]


@pytest.mark.parametrize(("values", "key", "told"), WRONG)
def test_what_is_wrong_is_named(values, key, told):
    with pytest.raises(RuleError, match=f"(?s)rule 2.*{told}") as caught:
        Rules.parse([PIN, values])
    assert (caught.value.number, caught.value.key) == (2, key)
    assert caught.value.name == values.get("name", "")


def test_files_are_read_and_their_faults_named(tmp_path):
    toml = tmp_path / "rules.toml"
    toml.write_text('depth = 50\n[[rules]]\nname = "p"\naction = "pin"\nitems = [7]\nactive_until = 2026-01-05\n')
    rules = Rules.read(toml)
    assert rules.depth == 50
    assert rules.rules[0].items == ("7",)
    assert rules.rules[0].active_until == datetime.date(2026, 1, 5)
    for values in ([PIN], {"rules": [PIN]}):
        (tmp_path / "rules.json").write_text(json.dumps(values))
        assert Rules.load(tmp_path / "rules.json").rules == (Rule(**PIN),)
    for text, told in [
        ("[[rule]]\n", "unknown key `rule`. Did you mean `rules`"),
        ("rules = 3", "list of tables"),
        ("rules = [3]", "rule 1: a rule is a table"),
        ("depth = 0", "`depth`"),
        ("x =", "is not TOML"),
    ]:
        toml.write_text(text)
        with pytest.raises(RuleError, match=f"(?s){toml.name}.*{told}"):
            Rules.read(toml)
    with pytest.raises(RuleError, match="No such file"):
        Rules.read(tmp_path / "none.toml")


def test_filters_are_checked_against_the_columns_and_missing_pins_are_noted(catalog):
    assert Rules.parse([BOOST, PIN | {"items": ["P001", "P999"]}]).check(catalog) == [
        'rule 2 "p" pins P999, which is not there.'
    ]
    with pytest.raises(RuleError, match=r'rule 2 "b".*`where` does not fit.*brnd'):
        Rules.parse([PIN, BOOST | {"where": "brnd = 'Acme'"}]).check(catalog)
