"""The time left that a run tells is right within 15 % once a tenth is done, although work arrives in batches."""

from __future__ import annotations

import random

import pytest

from pipeline.pace import Pace


@pytest.mark.parametrize(("lanes", "apart_s"), [(1, 0.0), (2, 0.1), (2, 2.0), (4, 0.3), (4, 2.0)])
def test_time_left_is_right_after_a_tenth(lanes: int, apart_s: float) -> None:
    dice = random.Random(lanes)
    total_s, batch_s, loading_s = 20_000.0, 200.0, 12.0
    commits = []
    for lane in range(lanes):  # each lane commits a batch every 15 s or so
        at = loading_s + lane * apart_s
        for _ in range(int(total_s / batch_s / lanes)):
            at += dice.uniform(13.0, 17.0)
            commits.append(at)
    commits.sort()
    end = commits[-1]
    pace, done_s, told = Pace(0.0, 0.0), 0.0, 0
    for second in range(int(end)):
        while commits and commits[0] <= second:
            commits.pop(0)
            done_s += batch_s
        pace.feed(float(second), done_s)
        left_s = pace.left_s(float(second), total_s)
        if 0.1 * total_s < done_s < 0.9 * total_s:
            assert left_s is not None
            assert left_s == pytest.approx(end - second, rel=0.15)
            told += 1
    assert told > 0.7 * end


def test_nothing_is_told_before_anything_is_known() -> None:
    pace = Pace(0.0, 500.0)  # an earlier run did that
    pace.feed(9.0, 500.0)
    assert pace.speed is None and pace.left_s(9.0, 1000.0) is None
    for now, done_s in ((10.0, 600.0), (20.0, 700.0), (30.0, 800.0)):
        pace.feed(now, done_s)
    assert pace.speed == 10.0
    assert pace.left_s(35.0, 1000.0) == 15.0
