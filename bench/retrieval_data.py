"""The retrieval set: judged queries over episodes, as files in a folder.

Comes in: a folder with `episodes.SPLIT.jsonl.gz`, `queries.SPLIT.jsonl.gz` and, if wanted, `distractors.*.jsonl.gz`.
Goes out: talks cut into passages by the product's own code, with the words that each passage and each answer covers.
Does not know: how a run ranks windows, or what a good rank is worth.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from index.embed import Embedder
from index.passages import cut_passages
from store.database import Database
from store.passages import save_vectors, vectors_by_hash
from store.records import Passage, Segment

LANGUAGE = "en"
EMBED_AT_ONCE = 128  # passages; a run that is stopped loses no more than these
_LITTLE_WORDS = ("a", "the", "to", "of", "and", "in", "it", "is", "for", "on", "at", "or", "so", "we", "he")
_CLOCK = re.compile(r"\[\d{1,2}:\d{2}(?::\d{2})?\]\s*")

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Talk:
    """An episode of the set, cut. Passage i covers words `word_starts[i]` to `word_starts[i + 1]` of the talk."""

    id: str
    show: str
    title: str
    date: str
    passages: tuple[Passage, ...]
    word_starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """A judged query: its answer is words `first_word` to `last_word` (excluded) of `talk_id`."""

    id: str
    kind: str
    text: str
    talk_id: str
    first_word: int
    last_word: int
    answer: str


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Judged talks first, then the distractors."""

    talks: tuple[Talk, ...]
    queries: tuple[Query, ...]


def read_set(
    folder: Path, split: str, *, episodes: int | None = None, distractors: int = 0, alter: Callable[[str], str] | None = None
) -> RetrievalSet:
    """Read a set. `episodes` and `distractors` take that many, in an order that is mixed but the same every time.

    `alter` may change what is said, word for word; queries and answers stay as they are.

    Raises `FileNotFoundError` if the folder holds no such split.
    """
    rows = _first(list(_rows(folder / f"episodes.{split}.jsonl.gz")), episodes)
    talks = {row["id"]: read_talk(row, alter) for row in rows}
    spans = {row["id"]: _segment_starts(row) for row in rows}
    texts = {row["id"]: [segment["text"] for segment in row["segments"]] for row in rows}
    queries = []
    for row in _rows(folder / f"queries.{split}.jsonl.gz"):
        if row["episode"] not in talks:
            continue
        starts, first, last = spans[row["episode"]], row["seg_from"], row["seg_to"]
        answer = " ".join(texts[row["episode"]][first:last])
        queries.append(Query(row["id"], row["kind"], row["text"], row["episode"], starts[first], starts[last], answer))
    others: list[dict[str, Any]] = []
    if distractors:
        for path in sorted(folder.glob("distractors.*.jsonl.gz")):
            others.extend(_rows(path))
    return RetrievalSet((*talks.values(), *(read_talk(row, alter) for row in _first(others, distractors))), tuple(queries))


def read_talk(row: dict[str, Any], alter: Callable[[str], str] | None = None) -> Talk:
    """Cut one episode of the set; `alter` may change a segment's text word for word."""
    segments = []
    for segment in row["segments"]:
        text = _text(segment["text"])
        segments.append(Segment(segment["start"], segment["end"], alter(text) if alter else text, speaker=segment["speaker"]))
    passages = cut_passages(row["id"], segments, LANGUAGE)
    counts = [len(passage.text.split()) for passage in passages]
    starts = tuple(int(count) for count in np.concatenate([[0], np.cumsum(counts)]))
    return Talk(row["id"], row["show"], row["title"], row["date"], tuple(passages), starts)


def embed_set(talks: Sequence[Talk], embedder: Embedder, cache: Path, tell: Callable[[str], None]) -> dict[str, Vectors]:
    """Return the vector of every passage by text hash. What `cache` (a folder) holds already is not embedded again."""
    database = Database.in_folder(cache)
    texts = {passage.text_hash: passage.text for talk in talks for passage in talk.passages}
    vectors = vectors_by_hash(database, embedder.name, texts)
    missing = [key for key in texts if key not in vectors]
    started, told_at = time.monotonic(), time.monotonic()
    for start in range(0, len(missing), EMBED_AT_ONCE):
        keys = missing[start : start + EMBED_AT_ONCE]
        made = dict(zip(keys, embedder.embed_passages([texts[key] for key in keys]), strict=True))
        with database.write() as connection:
            save_vectors(connection, embedder.name, made)
        vectors.update(made)
        done = start + len(keys)
        if time.monotonic() - told_at > 10 or done == len(missing):
            told_at = time.monotonic()
            left_s = (told_at - started) / done * (len(missing) - done)
            tell(f"embedded {done} of {len(missing)} passages, {left_s / 60:.1f} min left")
    database.close()
    return vectors


def worsen(text: str, share: float) -> str:
    """Replace a share of the words as speech recognition might: by a word that looks alike, cut short, or the wrong little word.

    The same text is always worsened alike; the number of words stays.
    """
    random = Random(text)
    words = text.split()
    for index, word in enumerate(words):
        if random.random() >= share:
            continue
        letters = "".join(char for char in word.lower() if char.isalnum())
        if len(letters) <= 3:
            words[index] = random.choice(_LITTLE_WORDS)
        elif letters.isdigit():
            words[index] = str(random.randrange(10 ** len(letters)))
        else:
            place = random.randrange(1, len(letters) - 1)
            swapped = random.choice("aeiou" if letters[place] in "aeiou" else "bdfgklmnprstv")
            words[index] = letters[:place] + swapped + letters[place + random.choice((1, 1, 2)) :]
    return " ".join(words)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _first(rows: list[dict[str, Any]], count: int | None) -> list[dict[str, Any]]:
    """Take `count` rows in an order given by their ids' hashes: any show may come, and a larger count only adds."""
    if count is None or count >= len(rows):
        return rows
    return sorted(rows, key=lambda row: hashlib.sha256(row["id"].encode()).hexdigest())[:count]


def _text(text: str) -> str:
    return " ".join(_CLOCK.sub("", text).split())


def _segment_starts(row: dict[str, Any]) -> list[int]:
    starts = [0]
    for segment in row["segments"]:
        starts.append(starts[-1] + len(_text(segment["text"]).split()))
    return starts
