"""Episodes, transcripts, passages and settings: what is written is read back, and what is removed is gone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from store import episodes, passages, transcripts
from store.database import Database
from store.errors import SettingsError, StoreError
from store.records import Segment, TranscriptHead, TranscriptLink, Word
from store.report import catalogue_report, report_text
from store.settings import load_settings
from tests.catalogue import add_episode, listing, passage, segment


def test_an_episode_added_twice_is_one_and_learns(database: Database) -> None:
    show = listing("a")
    better = replace(show.episodes[0], title="A better title", transcripts=(TranscriptLink("https://x/t.vtt", "text/vtt", "en"),))
    with database.write() as connection:
        show_id = episodes.save_show(connection, show)
        first, is_new = episodes.save_episode(connection, show_id, show.episodes[0])
        again, is_new_again = episodes.save_episode(connection, show_id, better)
    assert (first, is_new, is_new_again) == (again, True, False)
    stored = episodes.get_episode(database, first)
    assert stored.title == "A better title" and stored.transcripts == better.transcripts


def test_the_same_recording_stays_until_its_last_episode_goes(database: Database) -> None:
    show = listing("a", "b")
    with database.write() as connection:
        show_id = episodes.save_show(connection, show)
        ids = [episodes.save_episode(connection, show_id, item)[0] for item in show.episodes]
        recordings = {episodes.save_recording(connection, "ab" * 32, "recordings/x.mp3", 9, 60.0) for _ in ids}
        transcript_id = transcripts.save_transcript(connection, TranscriptHead("engine"), [segment("hello there")], min(recordings))
        for episode_id in ids:
            episodes.set_recording(connection, episode_id, min(recordings))
            episodes.set_transcript(connection, episode_id, transcript_id)
    assert len(recordings) == 1
    with database.write() as connection:
        assert episodes.remove_episode(connection, ids[0]) == []
    assert transcripts.read_segments(database, transcript_id)
    with database.write() as connection:
        assert episodes.remove_episode(connection, ids[1]) == ["recordings/x.mp3"]
    for table in ("recording", "transcript", "segment", "episode"):
        assert database.read().execute(f"select count(*) from {table}").fetchone()[0] == 0


def test_removing_leaves_nothing_behind(database: Database) -> None:
    gone = add_episode(database, "a", ["the quick brown fox", "shared words"])
    stays = add_episode(database, "b", ["shared words", "its own words"])
    vectors = {item.text_hash: np.ones(3, dtype=np.float32) for item in passages.passages_after(database, 0)}
    with database.write() as connection:
        passages.save_vectors(connection, "m", vectors)
        episodes.remove_episode(connection, gone)
    kept = passages.passages_after(database, 0)
    assert {item.episode_id for item in kept} == {stays}
    assert set(passages.vectors_by_hash(database, "m", vectors)) == {item.text_hash for item in kept}
    assert passages.changes_after(database, 0)[-1].action == "remove"


def test_passage_ids_are_never_reused(database: Database) -> None:
    episode_id = add_episode(database, "a", ["one", "two"])
    before = {item.id for item in passages.passages_of(database, episode_id)}
    with database.write() as connection:
        passages.replace_passages(connection, episode_id, [passage(episode_id, 0, "one"), passage(episode_id, 1, "three")])
    after = {item.id for item in passages.passages_of(database, episode_id)}
    assert not before & after
    assert [change.action for change in passages.changes_after(database, 0)] == ["add", "remove", "add"]


def test_a_transcript_is_read_back_whole(database: Database) -> None:
    words = (Word(" こん", 0.0, 0.5, 0.9), Word("にちは。", 0.5, 1.25, 0.75))
    written = [Segment(0.0, 1.25, "こんにちは。", words, "花子", "ja", ("suspect",)), segment("no more", 2.0)]
    head = TranscriptHead("engine", "faster-whisper 1.2.1", "base@d01c3014", "ja", {"beam_size": 1}, ("cut off",))
    with database.write() as connection:
        transcript_id = transcripts.save_transcript(connection, head, written, None)
    assert transcripts.read_head(database, transcript_id) == head
    read = transcripts.read_segments(database, transcript_id)
    assert read[0] == written[0]
    assert [w.text for w in read[1].words] == [" no", " more"]


def test_chunks_remember_what_was_decoded(database: Database) -> None:
    with database.write() as connection:
        recording_id = episodes.save_recording(connection, "cd" * 32, "x", 1, None)
        transcripts.save_plan(connection, recording_id, "plan", [[(0.0, 20.0), (21.0, 30.0)], [(30.0, 40.0)]])
        transcripts.save_chunk(connection, recording_id, "plan", 1, [segment("second chunk", 30.0)])
        transcripts.save_plan(connection, recording_id, "plan", [[(0.0, 1.0)]])  # a resumed episode is cut as before
    first, second = transcripts.read_chunks(database, recording_id, "plan")
    assert first.spans == ((0.0, 20.0), (21.0, 30.0)) and first.segments is None
    assert second.segments is not None and second.segments[0].text == "second chunk"


def test_the_report_counts_and_hides_secrets(database: Database) -> None:
    add_episode(database, "a", ["words"], link="https://me:hunter2@feeds.example/show?token=s3cret")
    report = catalogue_report(database, with_episodes=True)
    assert report["totals"]["episodes"] == report["totals"]["readable"] == 1
    text = report_text(report) + json.dumps(report)
    assert "hunter2" not in text and "s3cret" not in text and "feeds.example" in text


def test_unknown_ids_are_told(database: Database) -> None:
    for read in (episodes.get_episode, episodes.get_show):
        with pytest.raises(StoreError, match="no such"):
            read(database, "nothing")


def test_settings_come_in_order(tmp_path: Path) -> None:
    (tmp_path / "earmark.toml").write_text('model = "small"\nport = 1000\nsite_name = "Talks"\n')
    settings = load_settings(tmp_path, {"model": None, "port": 3000}, {"EARMARK_PORT": "2000", "EARMARK_MODEL": "tiny"})
    assert (settings.model, settings.port, settings.site_name, settings.engine) == ("tiny", 3000, "Talks", "auto")


@pytest.mark.parametrize(
    ("text", "says"), [("modle = 'x'", "no setting called 'modle'"), ("port = 'x'", "does not fit"), ("port =", "TOML")]
)
def test_wrong_settings_are_told(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "earmark.toml").write_text(text)
    with pytest.raises(SettingsError, match=says):
        load_settings(tmp_path, {}, {})
