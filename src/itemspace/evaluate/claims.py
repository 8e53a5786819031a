"""Claims and their verdicts: what a published system says, stated with its least effect before anything is measured.

The rule, for one place with values per seed:

- a comparison (`over`): the differences `arm - over` are paired by seed. With m their mean and [low, high] the 95% t
  interval of m, the claim **held** when low > by, is **not held** when high <= by, and is **too close to call** otherwise.
  Fewer than three seeds are **not measured**: an interval from two says nothing.
- a bound (`at_most`, `at_least`): the same with the interval of the arm's mean against the bound, the bound included. A
  single value stands for itself.

Where judgments are incomplete a metric may order two arms the wrong way round. `agree` names companions of the metric: a
verdict that a companion contradicts is **too close to call**. Held is contradicted by a mean difference of 0 or less,
not held by an interval wholly above `by`.

Over the three places: a comparison must hold in the positive world (or the implementation is wrong) and must not hold in
the null world (or the check is rigged); only then does the verdict on real data count, whichever it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.special import stdtrit

from itemspace.core.errors import RequestError

Place = Literal["positive", "null", "real"]
PLACES: tuple[Place, ...] = ("positive", "null", "real")
Verdict = Literal["held", "not held", "too close to call", "not measured"]
FEWEST_SEEDS = 3
LEVEL = 0.95
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Claim:
    """One clause of what a system promises.

    metric: what is measured, as named in the measurements; larger is better unless `lower`. arm: whose values. Either
    over: the arm it is compared with, and by: the least difference that counts (0 or more); or a bound, at_most or
    at_least, on the arm's own values. agree: metrics that must not contradict a comparison, where they are measured.
    """

    text: str
    metric: str
    over: str | None = None
    by: float = 0.0
    at_most: float | None = None
    at_least: float | None = None
    arm: str = "system"
    lower: bool = False
    agree: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given = [name for name in ("over", "at_most", "at_least") if getattr(self, name) is not None]
        if len(given) != 1:
            told = f"{self.text!r} has {' and '.join(given) or 'neither'}"
            raise RequestError(f"a claim has one of over, at_most and at_least; {told}.")
        if self.by < 0 or (self.over is None and self.by != 0):
            raise RequestError(f"{self.text!r}: `by` is the least difference from another arm, 0 or more.")

    @property
    def comparative(self) -> bool:
        return self.over is not None

    @property
    def bar(self) -> str:
        """What is asked, in words."""
        if self.over is not None:
            better = "below" if self.lower else "above"
            return f"{self.metric} of {self.arm} {better} {self.over} by more than {self.by:g}"
        if self.at_most is not None:
            return f"{self.metric} of {self.arm} at most {self.at_most:g}"
        return f"{self.metric} of {self.arm} at least {self.at_least:g}"

    def judge(self, values: Mapping[str, Mapping[str, Sequence[float]]], why_not: str = "") -> Finding:
        """The verdict from values: arm -> metric -> one value per seed. `why_not`: why values may be missing."""
        mine = values.get(self.arm, {}).get(self.metric)
        if mine is None:
            return Finding("not measured", why=why_not or f"no {self.metric} of {self.arm}")
        if self.over is None:
            return self._bounded(np.asarray(mine, float))
        other = values.get(self.over, {}).get(self.metric)
        if other is None:
            return Finding("not measured", why=why_not or f"no {self.metric} of {self.over}")
        if len(mine) != len(other):
            return Finding("not measured", why=f"{len(mine)} seeds of {self.arm} but {len(other)} of {self.over}")
        finding = self._compared(np.asarray(mine, float) - np.asarray(other, float))
        for name in self.agree:
            companions = [values[arm].get(name) for arm in (self.arm, self.over)]
            if companions[0] is not None and companions[1] is not None and len(companions[0]) == len(companions[1]):
                difference = np.asarray(companions[0], float) - np.asarray(companions[1], float)
                finding = self._agreed(finding, name, difference)
        return finding

    def _agreed(self, finding: Finding, name: str, difference: np.ndarray) -> Finding:
        """The finding, or "too close to call" where the companion says otherwise."""
        mean, low, _ = interval(-difference if self.lower else difference)
        against_held = finding.verdict == "held" and mean <= _ROUNDING
        against_not = finding.verdict == "not held" and low > self.by + _ROUNDING
        if not (against_held or against_not):
            return finding
        return replace(finding, verdict="too close to call", why=f"{name} differs by {mean:+.4f}")

    def _compared(self, difference: np.ndarray) -> Finding:
        if len(difference) < FEWEST_SEEDS:
            return Finding("not measured", why=f"{len(difference)} seeds; {FEWEST_SEEDS} are needed for an interval")
        mean, low, high = interval(-difference if self.lower else difference)
        if np.isnan(mean):
            return Finding("not measured", why="a value is not a number")
        bar = self.by + _ROUNDING  # equal in exact arithmetic is equal
        verdict: Verdict = "held" if low > bar else "not held" if high <= bar else "too close to call"
        return Finding(verdict, mean, low, high, len(difference))

    def _bounded(self, values: np.ndarray) -> Finding:
        mean, low, high = interval(values)
        if np.isnan(mean):
            return Finding("not measured", why="a value is not a number")
        if self.at_most is not None:
            verdict: Verdict = (
                "held" if high <= self.at_most else "not held" if low > self.at_most else "too close to call"
            )
        else:
            assert self.at_least is not None
            verdict = "held" if low >= self.at_least else "not held" if high < self.at_least else "too close to call"
        return Finding(verdict, mean, low, high, len(values))

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "bar": self.bar, "metric": self.metric, "arm": self.arm, "over": self.over}


@dataclass(frozen=True)
class Finding:
    """A claim's verdict in one place: mean effect (or mean value, for a bound), its interval, seeds, and why if none."""

    verdict: Verdict
    mean: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    seeds: int = 0
    why: str = ""

    def __str__(self) -> str:
        if self.verdict == "not measured":
            return f"not measured ({self.why})"
        why = f"; {self.why}" if self.why else ""
        return f"{self.verdict} ({self.mean:+.4f}, {self.low:+.4f} to {self.high:+.4f}, {self.seeds} seeds{why})"

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"verdict": self.verdict}
        if self.verdict == "not measured":
            return {**out, "why": self.why}
        out |= {"mean": self.mean, "low": self.low, "high": self.high, "seeds": self.seeds}
        return {**out, "why": self.why} if self.why else out


@dataclass(frozen=True)
class Outcome:
    """A claim over the three places. state: "result" when the verdict on real data counts, else why it does not."""

    claim: Claim
    findings: Mapping[str, Finding]

    @property
    def state(self) -> str:
        positive, null = self.findings.get("positive"), self.findings.get("null")
        if not self.claim.comparative:
            return "result"
        if positive is None or positive.verdict == "not measured":
            return "unfinished: not measured in the positive world"
        if positive.verdict != "held":
            return "unfinished: the implementation is wrong, it does not hold where it must"
        if null is None or null.verdict == "not measured":
            return "unfinished: not measured in the null world"
        if null.verdict == "held":
            return "unfinished: the check is rigged, it holds where nothing can help"
        return "result"

    @property
    def verdict(self) -> str:
        """The verdict on real data, or why there is none."""
        if self.state != "result":
            return self.state
        real = self.findings.get("real")
        return "not measured (no real data)" if real is None else str(real)

    def to_json(self) -> dict[str, Any]:
        places = {place: finding.to_json() for place, finding in self.findings.items()}
        return {**self.claim.to_json(), "state": self.state, "verdict": self.verdict, "places": places}


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float, float]:
    """Mean and t interval of the mean of independent values [n]; the value itself three times for n = 1 (Student 1908)."""
    n = len(values)
    if n == 0 or np.isnan(values).any():
        return float("nan"), float("nan"), float("nan")
    mean = float(values.mean())
    if n == 1:
        return mean, mean, mean
    half = float(stdtrit(n - 1, 0.5 + level / 2) * values.std(ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half
