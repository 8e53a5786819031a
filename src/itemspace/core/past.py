"""`Past`: the states that a catalogue came from, each told from the next by the rows that changed."""

from __future__ import annotations

import numpy as np

MOST_STEPS, MOST_ROWS = 64, 1 << 17
"""Changes that are remembered, and rows of all of them together: what was derived before is derived anew."""


class Past:
    """One state in a line of them. States are told by identity; each knows the last steps that led to it."""

    def __init__(self, line: object | None = None, number: int = 0, steps: tuple[np.ndarray, ...] = ()) -> None:
        """Use `Past()` for the first state of a line, and `after` for the others."""
        self._line = object() if line is None else line
        self._number, self._steps = number, steps

    def after(self, rows: np.ndarray) -> Past:
        """The state that follows when `rows` [m] change, come or go."""
        steps = (*self._steps, rows)[-MOST_STEPS:]
        while sum(map(len, steps)) > MOST_ROWS:
            steps = steps[1:]
        return Past(self._line, self._number + 1, steps)

    def since(self, older: Past) -> np.ndarray | None:
        """The rows that changed since an older state of the line, ascending; None where that is not known."""
        steps = self._number - older._number
        if older._line is not self._line or not 0 <= steps <= len(self._steps):
            return None
        return np.unique(np.concatenate([np.zeros(0, np.int64), *self._steps[len(self._steps) - steps :]]))
