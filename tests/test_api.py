from __future__ import annotations

import asyncio
import json
import socket
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from store.database import Database
from store.jobs import list_jobs
from store.settings import Settings
from tests.web_site import HOSTILE, Running, running_site, with_settings
from ui.answers import SEARCHES_AT_ONCE, Answers, Ask
from ui.desk import Desk
from ui.gate import Bucket, Gate
from ui.site import Site, video_of, web_address

MOMENT = [
    "episode_id",
    "show_id",
    "show",
    "title",
    "published",
    "start_s",
    "end_s",
    "speaker",
    "text",
    "score",
    "play_url",
    "page_url",
]


@pytest.fixture(scope="module")
def site() -> Running:
    return running_site()


def ask(site: Running, **params: object) -> dict[str, object]:
    response = httpx.get(f"{site.base}/api/search", params={key: str(value) for key, value in params.items()})
    assert response.status_code == 200, response.text
    return dict(response.json())


def test_a_question_finds_the_second(site: Running) -> None:
    answer = ask(site, q="how do earthworms help a garden")
    assert list(answer)[:4] == ["query", "took_ms", "degraded", "moments"]
    first = answer["moments"][0]  # type: ignore[index]
    assert list(first) == MOMENT
    assert first["episode_id"] == site.ids["soil"] and first["play_url"] == f"/media/{site.ids['soil']}"
    assert first["page_url"].startswith(f"/e/{site.ids['soil']}?t=")
    marks = [first["text"][a:b].lower() for a, b in answer["highlights"][0]]  # type: ignore[index]
    assert any(word.startswith("earthworm") for word in marks)
    assert "explain" not in answer
    start, end = answer["best"][0]  # type: ignore[index]
    assert "earthworm" in first["text"][start:end]


def test_an_answer_explains_itself(site: Running) -> None:
    answer = ask(site, q="how do earthworms help a garden", explain=1, limit=3)
    why: dict[str, Any] = answer["explain"]  # type: ignore[assignment]
    assert len(why["moments"]) == len(answer["moments"])  # type: ignore[arg-type]
    assert "earthworms" in why["moments"][0]["said"] and why["moments"][0]["final_rank"] == 1
    assert {one["word"] for one in why["words"]} == {"how", "do", "earthworms", "help", "a", "garden"}


def test_filters_and_order(site: Running) -> None:
    assert {m["title"] for m in ask(site, q="sun", since="2025-11", until="2025-11")["moments"]} == {"Comets"}  # type: ignore[attr-defined]
    assert ask(site, q="barrel", speaker="Nobody")["moments"] == []
    assert {m["title"] for m in ask(site, q="mosquitoes barrel", speaker="Ben Brown")["moments"]} == {"Rain barrels"}  # type: ignore[attr-defined]
    days = [m["published"] for m in ask(site, q="the water", sort="newest")["moments"]]  # type: ignore[attr-defined]
    assert days == sorted(days, reverse=True)


def test_more_like_this_leaves_the_moment_out(site: Running) -> None:
    found = ask(site, like=f"{site.ids['comets']}@0")["moments"]
    assert found and not any(m["episode_id"] == site.ids["comets"] and m["start_s"] <= 0 <= m["end_s"] for m in found)  # type: ignore[attr-defined]


@pytest.mark.parametrize("params", [{"limit": "0"}, {"limit": "x"}, {"sort": "worst"}, {"since": "yesterday"}, {"q": "x" * 500}])
def test_bad_values_are_refused(site: Running, params: dict[str, str]) -> None:
    answer = httpx.get(f"{site.base}/api/search", params={"q": "sun"} | params)
    assert answer.status_code == 422 and next(iter(params)) in answer.json()["error"]


@pytest.mark.parametrize(
    "query", ['"', "AND OR NOT", "title:x", "a" * 399, HOSTILE, "\u202e", "*", "(", "'; drop table episode;--"]
)
def test_odd_queries_answer(site: Running, query: str) -> None:
    assert "moments" in ask(site, q=query)


def test_no_address_with_a_key_or_a_script_leaves(site: Running) -> None:
    text = httpx.get(f"{site.base}/api/episodes", params={"limit": 200}).text + json.dumps(ask(site, q="purple giraffe zebra"))
    for name in ("paid", "odd"):
        text += httpx.get(f"{site.base}/api/episode/{site.ids[name]}").text + httpx.get(f"{site.base}/e/{site.ids[name]}").text
    assert "secretpass" not in text and "abcdef0123456789" not in text and '"javascript:' not in text
    assert str(site.settings.data_dir.parent) not in text


def test_episode_words_heat_stats(site: Running) -> None:
    soil = site.ids["soil"]
    detail = httpx.get(f"{site.base}/api/episode/{soil}").json()
    assert detail["segments"][3]["text"].startswith("An earthworm") and detail["transcript"]["model"] == "base"
    words = httpx.get(f"{site.base}/api/words/{soil}").json()
    assert not words["estimated"]
    for segment, times in zip(detail["segments"], words["segments"], strict=True):
        assert sum(size for size, _, _ in times) == len(segment["text"])
    assert httpx.get(f"{site.base}/api/words/{site.ids['rain']}").json()["estimated"]
    heat = httpx.get(f"{site.base}/api/heat/{soil}", params={"q": "earthworm"}).json()["heat"]
    assert len(heat) == 48 and max(heat) > 0.5 and all(0 <= value <= 1 for value in heat)
    stats = httpx.get(f"{site.base}/api/stats").json()
    assert stats["episodes"] == len(site.ids) and "How do earthworms help a vegetable garden?" in stats["questions"]
    assert httpx.get(f"{site.base}/healthz").json()["ok"]


def test_missing_things_say_so(site: Running) -> None:
    for path in ("/api/episode/aaaaaaaaaaaa", "/api/words/aaaaaaaaaaaa", "/api/episode/..", "/e/aaaaaaaaaaaa.srt"):
        answer = httpx.get(site.base + path)
        assert answer.status_code == 404
    assert "no such episode" in httpx.get(f"{site.base}/api/episode/aaaaaaaaaaaa").json()["error"]


def test_caching(site: Running) -> None:
    first = httpx.get(f"{site.base}/api/stats")
    again = httpx.get(f"{site.base}/api/stats", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304 and "max-age" in first.headers["cache-control"]


def test_sizes(site: Running) -> None:
    assert httpx.get(f"{site.base}/api/search?q={'x' * 9000}").status_code == 414
    assert httpx.post(f"{site.base}/gradio_api/call/search_talks", content=b"x" * 70_000).status_code == 413
    assert httpx.post(f"{site.base}/gradio_api/upload", files={"files": b"x"}).status_code == 404


def test_rate() -> None:
    bucket = Bucket(60)
    assert not any(bucket.take("a") for _ in range(60))
    assert 0 < bucket.take("a") <= 1.1
    assert bucket.take("b") == 0


def test_admin_without_password_opens_on_localhost_only(site: Running) -> None:
    assert httpx.get(f"{site.base}/admin/").status_code == 200
    assert httpx.get(f"{site.base}/admin/", headers={"host": "evil.example"}).status_code == 403
    assert httpx.get(f"{site.base}/admin/", headers={"x-forwarded-for": "1.2.3.4"}).status_code == 403
    assert (
        httpx.post(f"{site.base}/admin/gradio_api/queue/join", json={}, headers={"origin": "https://evil.example"}).status_code
        == 403
    )


def test_admin_in_a_space_needs_a_password(site: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "someone/earmark")
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def nothing(*_: object) -> None:
        raise AssertionError("the gate let it through")

    gate = Gate(nothing, site.settings)  # type: ignore[arg-type]
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/admin/",
        "headers": [(b"host", b"localhost:7860")],
        "client": ("127.0.0.1", 1),
    }
    # In a thread of its own: the browser tests leave an event loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, gate(scope, nothing, send)).result()  # type: ignore[arg-type]
    assert sent[0]["status"] == 403


def answer_of_the_gate(settings: Settings, path: str, *, method: str = "GET", **headers: str) -> list[int]:
    """Send a request from another machine through a gate of its own, 20 times; return the statuses (200: let through)."""
    sent: list[int] = []

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            sent.append(int(str(message["status"])))

    async def app(scope: dict[str, object], receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    async def ask() -> None:
        gate = Gate(app, settings)  # type: ignore[arg-type]
        pairs = [(b"host", b"talks.example"), *((name.encode(), value.encode()) for name, value in headers.items())]
        scope = {"type": "http", "method": method, "path": path, "headers": pairs, "client": ("203.0.113.9", 1)}
        for _ in range(20):
            await gate(scope, None, send)  # type: ignore[arg-type]

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, ask()).result()
    return sent


def test_metrics(site: Running) -> None:
    ask(site, q="how do earthworms help, counted")
    ask(site, q="how do earthworms help, counted")
    text = httpx.get(f"{site.base}/metrics").text
    for line in ('earmark_searches_total{outcome="ok"}', 'earmark_searches_total{outcome="kept"}', "earmark_search_seconds_bucket",
                 "earmark_episodes ", "process_resident_memory_bytes"):  # fmt: skip
        assert line in text, line
    assert httpx.get(f"{site.base}/metrics", headers={"x-forwarded-for": "203.0.113.9"}).status_code == 403


def test_metrics_from_elsewhere_need_the_login(site: Running) -> None:
    locked = with_settings(site.settings, admin_password="s3cret")
    right, wrong = (b64encode(f"admin:{word}".encode()).decode() for word in ("s3cret", "guess"))
    assert set(answer_of_the_gate(site.settings, "/metrics")) == {403}
    assert set(answer_of_the_gate(locked, "/metrics")) == {401}
    assert set(answer_of_the_gate(locked, "/metrics", authorization=f"Basic {right}")) == {200}
    guesses = answer_of_the_gate(locked, "/metrics", authorization=f"Basic {wrong}")
    assert guesses[0] == 401 and guesses[-1] == 429
    assert answer_of_the_gate(locked, "/admin/login", method="POST")[-1] == 429


def test_admin_desk_queues_and_moves(site: Running) -> None:
    database = Database.in_folder(site.settings.data_dir)
    desk = Desk(Site(site.settings, database, None), database)  # type: ignore[arg-type]
    assert "in the queue" in desk.add_link(" https://example.org/new.xml ", 3, "en")
    job = list_jobs(database, states=("queued",))[0]
    assert job.kind == "list" and job.options == {"link": "https://example.org/new.xml", "limit": 3, "language": "en"}
    assert "1 paused" in desk.pause(str(job.id)) and desk.queue("paused")[0][0] == str(job.id)
    assert "resumed" in desk.resume(str(job.id)) and "cancelled" in desk.cancel("all") and "queued again" in desk.retry(str(job.id))
    assert "Nothing changed" in desk.resume("99999") and "no such" in desk.delete("nothing", True)[0]
    assert "1 waiting" in desk.summary() and desk.machine()
    desk.cancel("all")


def test_mcp_and_gradio_client(site: Running) -> None:
    from gradio_client import Client

    client = Client(site.base, verbose=False)
    found = client.predict("how do earthworms help", api_name="/search_talks")
    assert "Soil and worms" in found and f"/e/{site.ids['soil']}?t=" in found
    assert "An earthworm pulls" in client.predict(site.ids["soil"], api_name="/get_episode")
    assert "An earthworm pulls" in client.predict(site.ids["soil"], 60.0, 65.0, api_name="/get_passage")
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    answer = httpx.post(f"{site.base}/gradio_api/mcp/", json=body, headers={"accept": "application/json, text/event-stream"})
    names = [tool["name"] for tool in json.loads(answer.text.partition("data: ")[2] or answer.text)["result"]["tools"]]
    assert [name for name in names if name.endswith(("search_talks", "get_episode", "get_passage"))] == names and len(names) == 3


def test_addresses() -> None:
    assert web_address("javascript:alert(1)") == "" and web_address("https://a.example/x.mp3")
    assert video_of("https://youtu.be/abcdefghijk") == ("youtube", "abcdefghijk")
    assert video_of("https://player.vimeo.com/video/42") == ("vimeo", "42")
    assert video_of("https://youtube.com.evil.example/watch?v=abcdefghijk") is None


def test_a_page_that_can_be_reached_from_elsewhere_takes_no_path(
    site: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database.in_folder(tmp_path)
    settings = with_settings(site.settings, data_dir=tmp_path)

    def desk(**changes: str) -> Desk:
        return Desk(Site(with_settings(settings, **changes), database, None), database)  # type: ignore[arg-type]

    locked = desk(admin_password="s3cret")
    for path in ("/etc", "~/x", ".", "../x", "a/../..", "file:///etc", "C:\\Users", "\\\\host\\share"):
        assert "Only web addresses" in locked.add_link(path, 0, ""), path
    assert "in the queue" in locked.add_link("samples", 0, "")  # a name, whatever lies in the worker's folder
    assert list_jobs(database)[0].options["link"] == "https://samples"
    assert "in the queue" in locked.add_link("feed://example.org/x.xml", 0, "")
    assert "in the queue" in desk().add_link("/srv/talks", 0, "")
    monkeypatch.setenv("SPACE_ID", "someone/earmark")
    assert "Only web addresses" in desk().add_link("/srv/talks", 0, "")


def test_uploads_of_one_name_are_all_kept(site: Running, tmp_path: Path) -> None:
    database = Database.in_folder(tmp_path / "data")
    desk = Desk(Site(with_settings(site.settings, data_dir=tmp_path / "data"), database, None), database)  # type: ignore[arg-type]
    for folder, body in (("a", b"one"), ("b", b"two"), ("c", b"one")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "talk.mp3").write_bytes(body)
    said = desk.add_files([str(tmp_path / folder / "talk.mp3") for folder in "abc"], "en")
    assert said.startswith("3 files") and "in the queue" in said
    kept = {path.name: path.read_bytes() for path in (tmp_path / "data" / "uploads").rglob("*.*")}
    assert kept == {"talk.mp3": b"one", "talk (2).mp3": b"two"}


def test_the_machine_says_what_was_really_used(site: Running) -> None:
    database = Database.in_folder(site.settings.data_dir)
    rows = dict(Desk(Site(site.settings, database, None), database).machine())  # type: ignore[arg-type]
    assert rows["Engine last used"] == "faster-whisper" and rows["Model last used"] == "base@sha256:0"
    assert "free of" in rows["Disk"] and "windows, made with" in rows["Index"] and rows["Workers"] == "none at work now"


def test_a_question_that_was_typed_over_is_not_searched(site: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []

    def slow(_: Answers, asked: Ask) -> dict[str, object]:
        searched.append(asked.query)
        time.sleep(0.8)
        return {"moments": [], "degraded": None}

    monkeypatch.setattr(Answers, "found", slow)
    lines = []
    for number in range(SEARCHES_AT_ONCE + 3):
        lines.append(socket.create_connection(("127.0.0.1", site.settings.port)))
        lines[-1].sendall(f"GET /api/search?q=held+{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(0.05)
    for line in lines[SEARCHES_AT_ONCE : SEARCHES_AT_ONCE + 2]:
        line.close()
    assert lines[-1].recv(20).startswith(b"HTTP/1.1 200")
    assert len(searched) == SEARCHES_AT_ONCE + 1 and searched[-1] == f"held {SEARCHES_AT_ONCE + 2}"
    for line in lines:
        line.close()
