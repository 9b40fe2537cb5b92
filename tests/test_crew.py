from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import talks
from ui.answers import Answers, Ask
from ui.crew import Crew
from ui.site import open_site

QUESTIONS = ["why is the sea salty", "what makes bread rise", "how much salt", "whales", "oven firmware", "the moon and the tides"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return talks.indexed(tmp_path_factory.mktemp("crew")).folder


def until(holds: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


def answers_of(folder: Path, processes: int) -> Answers:
    return Answers(open_site(replace(talks.settings(folder), search_processes=processes)))


def asked(answers: Answers, lap: int) -> list[list[tuple[str, float]]]:
    """Ask everything from twelve threads at once; nothing comes from memory, because every limit is new."""
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda n: answers.search(Ask(QUESTIONS[n % 6], limit=5 + n // 6 + 10 * lap)), range(24)))
    return [[(moment["episode_id"], moment["start_s"]) for moment in answer["moments"]][:5] for answer in found]


def test_helpers_answer_as_the_server_does_and_may_die(folder: Path) -> None:
    alone, many = answers_of(folder, 0), answers_of(folder, 2)
    crew = many._crew
    wanted = asked(alone, 0)
    assert alone._crew.helpers == 0
    try:
        assert crew.helpers == 0  # nobody waits: nothing is started
        assert asked(many, 0) == wanted
        assert crew.helpers == 2
        assert until(lambda: all(helper.ready for helper in crew._helpers), 60)
        first, second = crew._helpers
        assert [moment["episode_id"] for moment in (first.answer(Ask("whales")) or {})["moments"]] == [
            moment["episode_id"] for moment in alone.search(Ask("whales"))["moments"]
        ]
        assert asked(many, 1) == wanted
        os.kill(first.pid, signal.SIGKILL)
        assert asked(many, 2) == wanted  # the one that died is missed by nobody
        assert until(lambda: first not in crew._helpers, 10)
        assert second.alive and until(lambda: crew._seats.qsize() == 2, 10)  # one here, one there
        os.kill(second.pid, signal.SIGKILL)
        assert asked(many, 3) == wanted
    finally:
        many.close()
    assert all(helper._process.wait(10) is not None for helper in (first, second, *crew._helpers))


def test_what_fails_in_a_helper_is_told_by_the_server(folder: Path) -> None:
    crew = Crew(replace(talks.settings(folder), search_processes=1))

    def here(ask: Any) -> dict[str, Any]:
        raise ZeroDivisionError(ask)

    crew._hire()
    try:
        assert until(lambda: crew._seats.qsize() == 3, 60)
        with pytest.raises(ZeroDivisionError):
            crew.answer(Ask(like="nothing@1"), here)  # taken by the helper, which is warm; it knows no such moment
        assert crew._seats.qsize() == 3
    finally:
        crew.close()
