"""A large catalogue for measuring search: real talks, grown with real talks and varied, in a store of its own.

Comes in: a folder as `bench.retrieval_data` reads it, and how many windows are wanted. Goes out: a filled store.
Real vectors are used where the cache of `bench.retrieval` has them; other passages get a real one turned to a cosine of .80 to .90.
Does not know: how search is measured.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.retrieval_data import Talk, read_set
from index.columns import window_rows
from index.dense import window_vectors
from store.database import Database
from store.episodes import save_episode, save_show
from store.passages import passages_after, replace_passages, save_vectors, vectors_by_hash
from store.records import EpisodeListing, Passage, ShowListing, text_hash

COSINES = (0.80, 0.90)
VARIED_SHARE = 0.15  # of the words of a talk that comes again are those of another passage
FEWEST_WINDOWS = 60  # of a talk, on average: more talks than needed are not even read
TALKS_AT_ONCE = 50  # in one transaction

Vectors = npt.NDArray[np.float32]


def fill_store(database: Database, data: Path, split: str, windows: int, cache: Path, model: str) -> list[str]:
    """Put talks with `windows` windows into an empty store; return the episodes' ids."""
    given = read_set(data, split, episodes=windows // FEWEST_WINDOWS + 1, distractors=windows // FEWEST_WINDOWS)
    hashes = [passage.text_hash for talk in given.talks for passage in talk.passages]
    known = vectors_by_hash(Database.in_folder(cache), model, hashes)
    pool = np.stack(list(known.values()))
    turn = np.random.default_rng(0)
    ids: list[str] = []
    batch: list[tuple[Talk, int]] = []
    made = 0
    for talk, lap in _talks(given.talks):
        batch.append((talk, lap))
        made += max(len(talk.passages) - 1, 1)
        if len(batch) == TALKS_AT_ONCE or made >= windows:
            ids += _store(database, batch, known, pool, turn, model)
            batch = []
        if made >= windows:
            return ids
    return ids


def _talks(talks: tuple[Talk, ...]) -> Iterator[tuple[Talk, int]]:
    """Yield every talk, and then every talk again and again, varied."""
    yield from ((talk, 0) for talk in talks)
    lap = 0
    while True:
        lap += 1
        words = [passage.text.split() for talk in random.Random(lap).sample(talks, 50) for passage in talk.passages]
        for talk in talks:
            random_words = random.Random(f"{talk.id} {lap}")
            yield replace(talk, passages=tuple(_varied(passage, words, random_words) for passage in talk.passages)), lap


def _varied(passage: Passage, others: list[list[str]], source: random.Random) -> Passage:
    words, other = passage.text.split(" "), source.choice(others)
    for index in range(len(words)):
        if source.random() < VARIED_SHARE:
            words[index] = source.choice(other)
    text = " ".join(words)
    return replace(passage, text=text, text_hash=text_hash(text), sentences=passage.sentences[:1])


def _store(
    database: Database,
    batch: list[tuple[Talk, int]],
    known: dict[str, Vectors],
    pool: Vectors,
    turn: np.random.Generator,
    model: str,
) -> list[str]:
    ids = []
    with database.write() as connection:
        for talk, lap in batch:
            show = ShowListing(link=f"{talk.show} {lap}", kind="feed", title=talk.show, episodes=())
            listing = EpisodeListing(guid=talk.id, title=talk.title, media_url="", published=talk.date)
            episode_id, _ = save_episode(connection, save_show(connection, show), listing)
            texts = [passage.text_hash for passage in talk.passages]
            save_vectors(connection, model, {key: known[key] if key in known else _turned(pool, turn) for key in texts})
            replace_passages(connection, episode_id, [replace(passage, episode_id=episode_id) for passage in talk.passages])
            ids.append(episode_id)
    return ids


def _turned(pool: Vectors, turn: np.random.Generator) -> Vectors:
    """Return a real vector, turned away from itself."""
    source = pool[turn.integers(len(pool))]
    noise = turn.standard_normal(len(source)).astype(np.float32)
    noise -= (noise @ source) * source
    noise /= np.linalg.norm(noise)
    cosine = turn.uniform(*COSINES)
    turned: Vectors = (cosine * source + np.sqrt(1 - cosine**2) * noise).astype(np.float32)
    return turned


def read_windows(database: Database, model: str) -> tuple[list[int], list[str], Vectors]:
    """Return every window's id, text and exact vector (float32, shape (n, d)) from the store."""
    passages: list[Passage] = []
    while found := passages_after(database, passages[-1].id if passages else 0, 20_000):
        passages += found
    kept = vectors_by_hash(database, model, (passage.text_hash for passage in passages))
    rows = window_rows(passages)
    vectors = window_vectors(np.stack([kept[passage.text_hash] for passage in passages]), rows)
    texts = [" ".join(passage.text for passage in passages[row : row + count]) for row, count in rows]
    return [passages[row].id for row, _ in rows], texts, vectors
