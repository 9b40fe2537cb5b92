"""A catalogue of real text, who finds its windows, and the truth about each of them, worked out from the store."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench.search_data import read_windows
from index import build
from index.candidates import Finder, Finders
from index.columns import window_rows
from index.generation import Generation, Readers
from index.lexical import LexicalQuery
from index.query import Filters, fold_name, parse_query
from index.ranker import Counts, Place, count_terms
from index.search import Searcher
from store.database import Database
from store.episodes import get_episode, save_episode, save_show, set_transcript
from store.passages import passages_after, replace_passages, save_vectors
from store.records import Episode, EpisodeListing, Passage, Segment, ShowListing, TranscriptHead
from store.settings import Settings
from store.transcripts import save_transcript
from tests import talks

ROOT = Path(__file__).parents[1]
FINDERS = ("parts", "qdrant")
JUDGED_TALKS, JUDGED_SEGMENTS = 6, 40
GERMAN = (
    "Warum ist das Meer salzig? Der Regen löst Salze aus dem Gestein, und die Flüsse tragen sie ins Meer. Das Wasser verdunstet, "
    "das Salz bleibt zurück. So wird das Meer seit Milliarden Jahren ein wenig salziger. "
)


@dataclass(frozen=True)
class Talk:
    show: str
    title: str
    published: str
    language: str
    said: list[tuple[str | None, str]]


def sample_talks() -> Iterator[Talk]:
    """The project's own samples, with two speakers each; a German talk, and one without a date."""
    for number, path in enumerate(sorted((ROOT / "samples").glob("*.txt"))):
        paragraphs = path.read_text(encoding="utf-8").split("\n\n")
        said: list[tuple[str | None, str]] = [
            (("Ada Green", "Ben Brown", None)[(number + n) % 3], p) for n, p in enumerate(paragraphs)
        ]
        yield Talk(f"Show {number % 3}", path.stem, f"2026-0{1 + number % 5}-1{number}", "en", said)
    yield Talk("Show 0", "Salziges Meer", "2026-02-01", "de", [("Cleo", GERMAN * 12)])
    yield Talk("Show 1", "An old tape", "", "en", [("ADA  green", "Nobody knows when this was said. " * 12)])


def judged_talks(shared: Path) -> Iterator[Talk]:
    """Talks of the retrieval set, the first of a few shows, cut short."""
    seen: set[str] = set()
    with gzip.open(shared / "retrieval" / "episodes.dev.jsonl.gz", "rt", encoding="utf-8") as file:
        for episode in map(json.loads, file):
            if episode["show"] in seen:
                continue
            seen.add(episode["show"])
            said = [(segment.get("speaker"), segment["text"]) for segment in episode["segments"][:JUDGED_SEGMENTS]]
            yield Talk(episode["show"], episode["title"], episode["date"] or "", "en", said)


def add(database: Database, stage: build.IndexStage, talk: Talk) -> str:
    segments, start_s = [], 0.0
    for speaker, text in talk.said:
        end_s = start_s + 0.4 * len(text.split())
        segments.append(Segment(start_s, end_s, text, speaker=speaker, language=talk.language))
        start_s = end_s
    show = ShowListing(link=f"https://example.org/{talk.show}", kind="feed", title=talk.show, episodes=())
    listing = EpisodeListing(talk.title, talk.title, f"https://example.org/{talk.title}.mp3", published=talk.published)
    with database.write() as connection:
        episode_id, _ = save_episode(connection, save_show(connection, show), listing)
    passages, vectors = stage.prepare(episode_id, segments, talk.language)
    with database.write() as connection:
        save_vectors(connection, stage.model, vectors)
        head = TranscriptHead("sidecar", language=talk.language)
        set_transcript(connection, episode_id, save_transcript(connection, head, segments, None))
        replace_passages(connection, episode_id, passages)
    return episode_id


def settings_of(finder: str, folder: Path) -> Settings:
    given = talks.settings(folder)
    return replace(given, qdrant=str(folder / "qdrant")) if finder == "qdrant" else given


def stage_of(database: Database, finder: str) -> build.IndexStage:
    stage = build.IndexStage(settings_of(finder, database.folder), database)
    stage._embedder = talks.embedder()
    return stage


@dataclass(frozen=True)
class Spoken:
    """A catalogue, who finds its windows, and the truth about each of them, worked out from the store."""

    database: Database
    settings: Settings

    @cached_property
    def generation(self) -> Generation:
        return Readers(self.settings.data_dir / "index").current()

    @cached_property
    def finder(self) -> Finder:
        return Finders(self.settings).of(self.generation)

    @cached_property
    def searcher(self) -> Searcher:
        return Searcher(self.settings, self.database, talks.embedder())

    @cached_property
    def windows(self) -> dict[int, tuple[Passage, ...]]:
        passages = passages_after(self.database, 0)
        return {passages[row].id: tuple(passages[row : row + count]) for row, count in window_rows(passages)}

    @cached_property
    def episodes(self) -> dict[str, Episode]:
        return {spoken[0].episode_id: get_episode(self.database, spoken[0].episode_id) for spoken in self.windows.values()}

    @cached_property
    def vectors(self) -> dict[int, np.ndarray]:
        ids, _, vectors = read_windows(self.database, talks.embedder().name)
        return dict(zip(ids, vectors, strict=True))

    def passing(self, filters: Filters) -> set[int]:
        return {key for key, spoken in self.windows.items() if passes(spoken, self.episodes[spoken[0].episode_id], filters)}

    def ids(self, places: Any) -> list[int]:
        columns = [part.columns for part in self.generation.parts]
        return [int(columns[part].ids[columns[part].window_row[position]]) for part, position in places]

    @cached_property
    def places(self) -> list[Place]:
        return [(n, w) for n, part in enumerate(self.generation.parts) for w in range(part.columns.windows)]

    def asked(self, text: str) -> tuple[LexicalQuery, Counts]:
        parsed = parse_query(text)
        terms = tuple(self.generation.stems(word) for word in parsed.words)
        return LexicalQuery(terms, parsed.phrases), count_terms(self.generation.parts, terms)

    def by_words(self, text: str, filters: Filters = Filters(), limit: int = 100) -> list[Place]:
        asked, counts = self.asked(text)
        return self.finder.by_words(self.generation, asked, counts, filters, limit)

    def by_meaning(self, text: str, filters: Filters = Filters(), limit: int = 100, among: Any = None) -> dict[Place, float]:
        return self.finder.by_meaning(self.generation, talks.embedder().embed_query(text), filters, limit, among)


def passes(spoken: tuple[Passage, ...], episode: Episode, filters: Filters) -> bool:
    """What the filters promise, in plain words."""
    speakers = {fold_name(name) for passage in spoken for name in passage.speakers}
    return (
        (not filters.episode_ids or episode.id in filters.episode_ids)
        and (not filters.show_ids or episode.show_id in filters.show_ids)
        and (not filters.speakers or bool(speakers & {fold_name(name) for name in filters.speakers}))
        and (not filters.languages or (spoken[0].language or "") in {name.lower() for name in filters.languages})
        and (not filters.since or (bool(episode.published) and episode.published[:10] >= filters.since))
        and (not filters.until or (bool(episode.published) and episode.published[:10] <= filters.until))
    )
