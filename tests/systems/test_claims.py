"""Verdicts from known values; nobody but the harness decides them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from itemspace.core.errors import RequestError
from itemspace.evaluate.claims import Claim, Finding, Outcome, interval

BETTER = Claim("better", "ndcg@10", over="plain", by=0.02)


def judged(claim, mine, other=None):
    values = {"system": {"ndcg@10": mine}, **({} if other is None else {"plain": {"ndcg@10": other}})}
    return claim.judge(values)


def test_the_interval_is_students():
    values = np.random.default_rng(0).normal(size=7)
    expected = scipy.stats.t.interval(0.95, 6, values.mean(), scipy.stats.sem(values))
    assert interval(values)[1:] == pytest.approx(expected)
    assert interval(np.array([0.5])) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.05, 0.051, 0.049, 0.05], "held"),
        ([0.02, 0.02, 0.02], "not held"),
        ([0.01, 0.011, 0.009], "not held"),
        ([0.05, 0.0, 0.06, -0.02], "too close to call"),
        ([-0.05, -0.051, -0.049], "not held"),
        ([0.0, 0.0, 0.0], "not held"),
    ],
)
def test_a_comparison_is_judged_by_the_interval_of_paired_differences(differences, verdict):
    base = np.array([0.3, 0.9, 0.1, 0.5])[: len(differences)]
    assert judged(BETTER, base + differences, base).verdict == verdict
    mirrored = Claim("less", "ndcg@10", over="plain", by=0.02, lower=True)
    assert judged(mirrored, base - differences, base).verdict == verdict


def test_no_difference_is_no_gain_even_when_any_gain_would_do():
    any_gain = Claim("any", "ndcg@10", over="plain")
    assert judged(any_gain, [0.5, 0.6, 0.7], [0.5, 0.6, 0.7]).verdict == "not held"


@pytest.mark.parametrize(
    ("mine", "other", "why"),
    [
        ([0.5, 0.6], [0.1, 0.1], "2 seeds; 3 are needed"),
        ([0.5] * 3, None, "no ndcg@10 of plain"),
        ([0.5] * 3, [0.1] * 4, "3 seeds of system but 4 of plain"),
        ([0.5, 0.5, float("nan")], [0.1] * 3, "not a number"),
    ],
)
def test_what_was_not_measured_says_why(mine, other, why):
    finding = judged(BETTER, mine, other)
    assert finding.verdict == "not measured"
    assert why in finding.why
    assert BETTER.judge({}, "no folder was given").why == "no folder was given"


def test_bounds_include_the_bound_and_take_a_single_value_as_it_is():
    most, least = Claim("most", "ndcg@10", at_most=0.5), Claim("least", "ndcg@10", at_least=0.5)
    assert [judged(most, [v]).verdict for v in (0.4, 0.5, 0.6)] == ["held", "held", "not held"]
    assert [judged(least, [v]).verdict for v in (0.4, 0.5, 0.6)] == ["not held", "held", "held"]
    assert judged(most, [0.4, 0.6, 0.5]).verdict == "too close to call"


@pytest.mark.parametrize(
    ("positive", "null", "state"),
    [
        ("held", "not held", "result"),
        ("held", "too close to call", "result"),
        ("not held", "not held", "implementation is wrong"),
        ("too close to call", "not held", "implementation is wrong"),
        ("held", "held", "rigged"),
        ("not measured", "not held", "not measured in the positive"),
        ("held", "not measured", "not measured in the null"),
    ],
)
def test_real_data_count_only_after_the_worlds_agree(positive, null, state):
    places = {"positive": Finding(positive), "null": Finding(null), "real": Finding("not held", -0.1, -0.2, 0.0, 5)}
    outcome = Outcome(BETTER, places)
    assert state in outcome.state
    assert outcome.verdict.startswith("not held" if state == "result" else "unfinished")
    assert Outcome(Claim("bound", "ms", at_most=5), places).state == "result"


@pytest.mark.parametrize(
    "options",
    [{}, {"over": "a", "at_most": 1.0}, {"at_least": 1.0, "by": 0.1}, {"over": "a", "by": -0.1}],
)
def test_a_claim_must_say_one_thing(options):
    with pytest.raises(RequestError):
        Claim("unclear", "ndcg@10", **options)


@pytest.mark.parametrize(
    ("gain", "companion", "verdict"),
    [
        (0.1, 0.1, "held"),
        (0.1, 0.001, "held"),
        (0.1, -0.001, "too close to call"),
        (0.0, 0.1, "too close to call"),
        (0.0, 0.01, "not held"),
    ],
)
def test_a_companion_may_take_a_conclusion_back_but_never_make_one(gain, companion, verdict):
    claim = Claim("better", "ndcg@10", over="plain", by=0.02, agree=("bpref", "judged-ndcg@10"))
    base = np.array([0.3, 0.4, 0.5])
    values = {
        "system": {"ndcg@10": base + gain, "bpref": base + companion},
        "plain": {"ndcg@10": base, "bpref": base},
    }
    finding = claim.judge(values)
    assert finding.verdict == verdict
    assert ("bpref" in finding.why) == (verdict == "too close to call")
