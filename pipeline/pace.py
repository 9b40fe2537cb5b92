"""How fast a run goes and how long it will take still.

Comes in: how many seconds of audio are done, again and again. Goes out: speed in audio seconds a second, seconds left.
Work is committed in batches, so what is done grows in steps: speed is taken from step to step, never from the start, where
models were loading and nothing could be done yet. Lanes commit almost together, so it is the slope of a line through all steps:
from the first step to the last, a round's other steps would seem to have taken no time.
Does not know: jobs, or how it is shown.
"""

from __future__ import annotations

WINDOW_S = 600.0  # steps older than this no longer count: episodes differ
LEAST_STEPS = 3  # before a speed is told


class Pace:
    """The steps of a run."""

    def __init__(self, now: float, done_s: float) -> None:
        """Start at `now` (seconds of any clock) with what earlier runs did."""
        self._steps = [(now, done_s)]
        self._is_first = True  # the step at the start holds no work: the clock runs from the first commit

    def feed(self, now: float, done_s: float) -> None:
        """Tell how many seconds of audio are done now."""
        if done_s <= self._steps[-1][1]:
            return
        if self._is_first:
            self._steps.clear()
            self._is_first = False
        self._steps.append((now, done_s))
        while len(self._steps) > LEAST_STEPS and now - self._steps[0][0] > WINDOW_S:
            self._steps.pop(0)

    @property
    def speed(self) -> float | None:
        """Return audio seconds a second; None as long as there were too few steps."""
        if self._is_first or len(self._steps) < LEAST_STEPS:
            return None
        mean_now = sum(now for now, _ in self._steps) / len(self._steps)
        mean_done = sum(done_s for _, done_s in self._steps) / len(self._steps)
        spread = sum((now - mean_now) ** 2 for now, _ in self._steps)
        together = sum((now - mean_now) * (done_s - mean_done) for now, done_s in self._steps)
        return together / spread if spread > 0 else None

    def left_s(self, now: float, total_s: float) -> float | None:
        """Return the seconds until `total_s` of audio are done, counted from the last step; None where no speed is known."""
        speed = self.speed
        last, done_s = self._steps[-1]
        return None if speed is None else max(0.0, (total_s - done_s) / speed - (now - last))
