"""Episodes and segments that several tests put into a store."""

from __future__ import annotations

from store import episodes, passages, transcripts
from store.database import Database
from store.records import EpisodeListing, Passage, Segment, Sentence, ShowListing, TranscriptHead, Word, text_hash


def listing(*guids: str, link: str = "https://example.org/feed.xml") -> ShowListing:
    return ShowListing(
        link=link,
        kind="feed",
        title="A show",
        episodes=tuple(
            EpisodeListing(guid=guid, title=f"Talk {guid}", media_url=f"https://example.org/{guid}.mp3") for guid in guids
        ),
    )


def segment(text: str, start_s: float = 0.0, *, word_s: float = 0.4, speaker: str | None = None) -> Segment:
    words = tuple(
        Word(f" {word}", start_s + index * word_s, start_s + (index + 1) * word_s) for index, word in enumerate(text.split())
    )
    return Segment(start_s, words[-1].end_s, text, words, speaker, "en")


def passage(episode_id: str, ordinal: int, text: str) -> Passage:
    return Passage(
        episode_id,
        ordinal,
        10.0 * ordinal,
        10.0 * ordinal + 9,
        text,
        text_hash(text),
        (Sentence(0, 10.0 * ordinal, 10.0 * ordinal + 9),),
    )


def add_episode(database: Database, guid: str, texts: list[str], *, link: str = "https://example.org/feed.xml") -> str:
    """Store an episode with a transcript and passages, one a text; return its id."""
    show = listing(guid, link=link)
    with database.write() as connection:
        show_id = episodes.save_show(connection, show)
        episode_id, _ = episodes.save_episode(connection, show_id, show.episodes[0])
        segments = [segment(text, 10.0 * index) for index, text in enumerate(texts)]
        transcript_id = transcripts.save_transcript(connection, TranscriptHead("engine", language="en"), segments, None)
        episodes.set_transcript(connection, episode_id, transcript_id)
        passages.replace_passages(connection, episode_id, [passage(episode_id, n, text) for n, text in enumerate(texts)])
    return episode_id
