"""The chain that cascade-type models share: a user reads downwards and may stop after every result.

Hidden per place: E examined, S satisfied. A click is E and attraction `a`; a click satisfies with chance `s`; who is not
satisfied goes on with chance `g`; E of the first place is certain. Arrays are [lists, places]; a list that has ended has
`a` 0 and no click, which leaves all chances as they are. Loops run over places, never over lists.
Source: Chapelle and Zhang 2009.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LEAST = 1e-12


@dataclass(frozen=True)
class Chances:
    """a, s: attraction and satisfaction [lists, places]. g: continuation."""

    a: np.ndarray
    s: np.ndarray
    g: float


@dataclass(frozen=True)
class Expected:
    """Posterior means given the clicks: examined, satisfied [lists, places]; went_on, stopped: of those examined and not
    satisfied that had a next place, how many looked at it and how many did not (totals)."""

    examined: np.ndarray
    satisfied: np.ndarray
    went_on: float
    stopped: float


def free(chances: Chances) -> np.ndarray:
    """The chance of a click at each place whatever the clicks above: P(E) falls by g (1 - a s) a place."""
    kept = chances.g * (1 - chances.a * chances.s)
    above = np.cumprod(kept[:, :-1], axis=1)
    examined = np.concatenate([np.ones((len(kept), 1)), above], axis=1)
    return examined * chances.a


def forward(chances: Chances, click: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P(E) given the clicks above, and the chance of what happened there given the clicks above [lists, places]."""
    examined, happened = np.ones(click.shape), np.ones(click.shape)
    now = np.ones(len(click))
    for place in range(click.shape[1]):
        a, s, clicked = chances.a[:, place], chances.s[:, place], click[:, place]
        examined[:, place] = now
        happened[:, place] = np.where(clicked, now * a, 1 - now * a)
        after_skip = np.divide(now * (1 - a), 1 - now * a, out=np.zeros(len(now)), where=now * a < 1)
        now = chances.g * np.where(clicked, 1 - s, after_skip)
    return examined, np.maximum(happened, _LEAST)


def expected(chances: Chances, click: np.ndarray, present: np.ndarray) -> tuple[Expected, float]:
    """Posterior means given all clicks, and the log-likelihood. present: bool [lists, places], False after a list's end."""
    examined, happened = forward(chances, click)
    later_seen, later_unseen = np.ones(len(click)), np.ones(len(click))
    posterior, satisfied = np.zeros(click.shape), np.zeros(click.shape)
    went_on = stopped = 0.0
    for place in range(click.shape[1] - 1, -1, -1):
        a, s, clicked = chances.a[:, place], chances.s[:, place], click[:, place]
        scale = happened[:, place]
        here = examined[:, place] * np.where(clicked, a * (1 - s), 1 - a) / scale
        on, off = here * chances.g * later_seen, here * (1 - chances.g) * later_unseen
        satisfied[:, place] = np.where(clicked, examined[:, place] * a * s / scale * later_unseen, 0.0)
        if place + 1 < click.shape[1]:
            follows = present[:, place + 1]
            went_on, stopped = went_on + float(on[follows].sum()), stopped + float(off[follows].sum())
        posterior[:, place] = on + off + satisfied[:, place]
        past = chances.g * later_seen + (1 - chances.g) * later_unseen
        seen = np.where(clicked, a * ((1 - s) * past + s * later_unseen), (1 - a) * past)
        unseen = np.where(clicked, 0.0, later_unseen)
        later_seen, later_unseen = seen / scale, unseen / scale
    return Expected(posterior, satisfied, went_on, stopped), float(np.log(happened).sum())
