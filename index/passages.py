"""From a transcript to passages: whole sentences to about 80 words, with times and speakers.

Comes in: an episode's segments. Goes out: `Passage` records without ids, in order; windows are pairs of neighbours.
Does not know: vectors, the index, the database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from index.language import ends_sentence, writes_spaces
from store.records import Passage, Segment, Sentence, text_hash

PASSAGE_WORDS = 80.0
UNSPACED_WORD = 80 / 110  # what one character counts where no spaces are written: about one model token
MAX_SENTENCE_WORDS = 60.0  # a longer one (captions without full stops) is cut where the speaker paused longest
MIN_CUT_WORDS = 20.0  # but not before it is this long
_WIDE_MARKS = "、。，．！？：；（）「」『』【】《》〈〉…・～"  # carry their own space
SEGMENT_END_BONUS_S = 0.3  # a segment's end is a likelier place for a cut than a pause of the same length inside one


@dataclass(frozen=True, slots=True)
class _Piece:
    """A word as written (with its leading space), its times, and what its segment knows."""

    text: str
    start_s: float
    end_s: float
    weight: float  # in words
    speaker: str | None
    language: str | None
    ends_segment: bool


_Pieces = list[_Piece]


def cut_passages(episode_id: str, segments: Sequence[Segment], language: str | None) -> list[Passage]:
    """Cut segments into passages of whole sentences, about 80 words each; no text gives an empty list.

    Sentences run on over segments; a change of speaker ends one. `language` is used for segments that name none.
    """
    sentences = _sentences(_pieces(segments, language))
    return [_passage(episode_id, ordinal, group, language) for ordinal, group in enumerate(_packed(sentences))]


def window_text(first: Passage, second: Passage | None) -> str:
    """Return the text of the window that starts with `first`; `second` is its successor in the same episode, if any."""
    if second is None:
        return first.text
    return f"{first.text} {second.text}" if _spaced(first.text[-1:], second.text[:1]) else first.text + second.text


def _pieces(segments: Sequence[Segment], language: str | None) -> _Pieces:
    pieces: _Pieces = []
    for segment in segments:
        parts = _timed_words(segment) or _interpolated_words(segment)
        for index, (text, start_s, end_s) in enumerate(parts):
            if index == 0:
                text = text.lstrip()
                if pieces and _spaced(pieces[-1].text[-1:], text[:1]):
                    text = f" {text}"
            weight = 1.0 if writes_spaces(text) else len(text.strip()) * UNSPACED_WORD
            last = index == len(parts) - 1
            pieces.append(_Piece(text, start_s, end_s, weight, segment.speaker, segment.language or language, last))
    return pieces


def _timed_words(segment: Segment) -> list[tuple[str, float, float]]:
    """Return the segment's own words, if they say what its text says."""
    spoken = [word for word in segment.words if word.text.strip()]
    if not spoken or "".join("".join(word.text for word in spoken).split()) != "".join(segment.text.split()):
        return []
    return [(word.text, word.start_s, word.end_s) for word in spoken]


def _interpolated_words(segment: Segment) -> list[tuple[str, float, float]]:
    """Cut the segment's text at spaces (or into characters where none are written) and spread the time by length."""
    parts: list[str] = []
    for word in segment.text.split():
        lead = " " if parts else ""
        if writes_spaces(word):
            parts.append(lead + word)
        else:
            parts.extend(lead + char if index == 0 else char for index, char in enumerate(word))
    total = sum(map(len, parts)) or 1
    length_s = max(segment.end_s - segment.start_s, 0.0)
    timed, done = [], 0
    for part in parts:
        start = segment.start_s + length_s * done / total
        done += len(part)
        timed.append((part, start, segment.start_s + length_s * done / total))
    return timed


def _spaced(left: str, right: str) -> bool:
    """Tell whether a space belongs between two characters of neighbouring segments."""
    return bool(left and right) and all(writes_spaces(char) and char not in _WIDE_MARKS for char in (left, right))


def _sentences(pieces: _Pieces) -> Iterator[_Pieces]:
    current: _Pieces = []
    for index, piece in enumerate(pieces):
        current.append(piece)
        following = pieces[index + 1] if index + 1 < len(pieces) else None
        if following is None or following.speaker != piece.speaker or ends_sentence(piece.text, following.text):
            yield from _shortened(current)
            current = []


def _shortened(sentence: _Pieces) -> Iterator[_Pieces]:
    """Cut a sentence that is too long at its longest pauses."""
    while sum(piece.weight for piece in sentence) > MAX_SENTENCE_WORDS:
        best, best_gap_s, length = 0, -1.0, 0.0
        for index, piece in enumerate(sentence[:-1]):
            length += piece.weight
            if length > MAX_SENTENCE_WORDS:
                break
            gap_s = sentence[index + 1].start_s - piece.end_s + (SEGMENT_END_BONUS_S if piece.ends_segment else 0.0)
            if length >= MIN_CUT_WORDS and gap_s >= best_gap_s:
                best, best_gap_s = index + 1, gap_s
        if best == 0:
            break
        yield sentence[:best]
        sentence = sentence[best:]
    yield sentence


def _packed(sentences: Iterator[_Pieces]) -> Iterator[list[_Pieces]]:
    """Group sentences: a group is closed when one more would take it further from the wanted length."""
    group: list[_Pieces] = []
    length = 0.0
    for sentence in sentences:
        weight = sum(piece.weight for piece in sentence)
        if group and length + weight - PASSAGE_WORDS > PASSAGE_WORDS - length:
            yield group
            group, length = [], 0.0
        group.append(sentence)
        length += weight
    if group:
        yield group


def _passage(episode_id: str, ordinal: int, group: list[_Pieces], language: str | None) -> Passage:
    text, places = "", []
    for sentence in group:
        written = "".join(piece.text for piece in sentence)
        if not text:
            written = written.lstrip()
        places.append(Sentence(len(text) + len(written) - len(written.lstrip()), sentence[0].start_s, sentence[-1].end_s))
        text += written
    pieces = [piece for sentence in group for piece in sentence]
    languages = Counter(piece.language for piece in pieces if piece.language)
    return Passage(
        episode_id=episode_id,
        ordinal=ordinal,
        start_s=pieces[0].start_s,
        end_s=max(piece.end_s for piece in pieces),
        text=text,
        text_hash=text_hash(text),
        sentences=tuple(places),
        speakers=tuple(dict.fromkeys(piece.speaker for piece in pieces if piece.speaker)),
        language=languages.most_common(1)[0][0] if languages else language,
    )
