"""From an engine's raw answer for a chunk to words, and from words to sentence-like segments.

Comes in: pieces of text with their alignment to the chunk's sound. Goes out: `Decoded` (words in seconds of the chunk) and segments
(in seconds of the recording).
Does not know: how an engine decodes, or whether what it says can be trusted (`guard`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.speech import Chunk, Span
from store.records import Segment, Word

TOKENS_PER_S = 50  # an encoder frame is 20 ms
LONGEST_WORD_S = 1.6  # an aligned word longer than this has swallowed a pause
WORD_SHARE = 2.0  # ... as has one of more than this many median lengths where a sentence ends or begins
MEDIAN_CAP_S = 0.7

BEFORE = "\"'“¿([{-「『"  # punctuation that belongs to the word after it
AFTER = "\"'.。,，!！?？:：”)]}、」』…"  # and to the word before it
ENDS = ".。!！?？…"
CLOSERS = "\"'”’)]」』"
ABBREVIATIONS = {
    *("mr", "mrs", "ms", "dr", "st", "vs", "prof", "jr", "sr", "no", "mt", "gen", "col", "sgt", "capt", "rev", "hon", "dept"),
    *("approx", "fig", "etc", "e.g", "i.e", "u.s", "u.k"),
}

PAUSE_S = 1.2  # silence that ends a segment even without a full stop
LONGEST_SEGMENT_S = 14.0  # a longer sentence is cut at its best comma or pause
SHORTEST_PART = 4  # words that a part of a cut sentence should have


@dataclass(frozen=True, slots=True)
class Decoded:
    """What an engine made of a chunk: words in seconds of the chunk, and how sure the model was."""

    words: tuple[Word, ...]
    average_logprob: float  # per token
    no_speech: float  # probability that there is no speech at all

    @property
    def text(self) -> str:
        """Return the words as one text."""
        return "".join(word.text for word in self.words).strip()


def aligned_words(
    pieces: Sequence[str],
    lengths: Sequence[int],
    path: npt.NDArray[np.int64],
    probabilities: Sequence[float],
    duration_s: float,
) -> tuple[Word, ...]:
    """Turn an alignment into words.

    `pieces` are the words' texts, `lengths` their numbers of tokens; `path`, shape (2, steps), holds the token and the encoder
    frame of every step of the alignment; `probabilities` has one value a token. Times are clipped to `duration_s`.
    """
    if not pieces or not path.shape[1]:
        return ()
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    jumps = np.concatenate([[True], np.diff(path[0]) > 0])
    times = path[1][jumps] / TOKENS_PER_S  # when each token begins; one more than there are text tokens: the end of text
    last = len(times) - 1
    words = []
    for index, piece in enumerate(pieces):
        first, end = int(bounds[index]), int(bounds[index + 1])
        sure = probabilities[first:end]
        words.append(
            Word(
                text=piece,
                start_s=min(duration_s, float(times[min(first, last)])),
                end_s=min(duration_s, float(times[min(end, last)])),
                probability=round(float(np.mean(sure)), 4) if len(sure) else 0.0,
            )
        )
    return tuple(_shortened(_with_punctuation(words)))


def _with_punctuation(words: Sequence[Word]) -> list[Word]:
    """Join marks that stand alone with the word that they belong to."""
    joined: list[Word] = []
    opening: Word | None = None
    for word in words:
        mark = word.text.strip()
        if opening is not None:
            word = replace(
                word, text=opening.text + word.text.lstrip() if opening.text.strip() else word.text, start_s=opening.start_s
            )
            opening = None
        if mark and word.text.startswith(" ") and all(char in BEFORE for char in mark):
            opening = word
        elif joined and not word.text.startswith(" ") and (not mark or all(char in AFTER for char in mark)):
            # The mark's own time is left out: the pause after a sentence is aligned to its full stop.
            joined[-1] = replace(joined[-1], text=joined[-1].text + word.text)
        else:
            joined.append(word)
    if opening is not None and joined:
        joined[-1] = replace(joined[-1], text=joined[-1].text + opening.text.rstrip())
    return [word for word in joined if word.text.strip()]


def _shortened(words: list[Word]) -> list[Word]:
    """Take pauses out of words: alignment stretches the word before or after a pause over it."""
    lengths = [word.end_s - word.start_s for word in words if word.end_s > word.start_s]
    usual_s = min(MEDIAN_CAP_S, float(np.median(lengths))) if lengths else 0.0
    limit_s = max(0.2, WORD_SHARE * usual_s)
    shortened = list(words)
    for index, word in enumerate(words):
        length_s = word.end_s - word.start_s
        longest_s = limit_s if _is_end(word.text) or index == 0 or _is_end(words[index - 1].text) else LONGEST_WORD_S
        longest_s = max(longest_s, 0.09 * len(word.text))
        if length_s <= longest_s:
            continue
        if _is_end(word.text) and not (index == 0 or _is_end(words[index - 1].text)):
            shortened[index] = replace(word, end_s=word.start_s + longest_s)
        else:
            shortened[index] = replace(word, start_s=word.end_s - longest_s)
    return shortened


def _is_end(text: str) -> bool:
    return text.rstrip(CLOSERS)[-1:] in tuple(ENDS)


def segments_of(words: Sequence[Word], chunk: Chunk, flags: tuple[str, ...] = ()) -> list[Segment]:
    """Cut a chunk's words into segments: at sentence ends and pauses, and long sentences at their best comma.

    Times become seconds of the recording.
    """
    placed = in_recording(words, chunk.spans)
    segments: list[Segment] = []
    first = 0
    for index, word in enumerate(placed):
        after = placed[index + 1] if index + 1 < len(placed) else None
        if after is not None and after.start_s - word.end_s < PAUSE_S and not _ends_sentence(word.text, after.text):
            continue
        for part in _parts(placed[first : index + 1]):
            text = "".join(item.text for item in part).strip()
            if text:
                segments.append(Segment(part[0].start_s, part[-1].end_s, text, tuple(part), language=chunk.language, flags=flags))
        first = index + 1
    return segments


def in_recording(words: Sequence[Word], spans: Sequence[Span]) -> list[Word]:
    """Move words from the chunk's time to the recording's; a word stays inside the span that holds its middle."""
    placed = []
    span = 0
    offset_s = 0.0  # packed time at which the current span begins
    latest_s = spans[0][0] if spans else 0.0
    for word in words:
        middle_s = (word.start_s + word.end_s) / 2
        while span + 1 < len(spans) and middle_s >= offset_s + spans[span][1] - spans[span][0]:
            offset_s += spans[span][1] - spans[span][0]
            span += 1
        low_s, high_s = spans[span]
        start_s = min(high_s, max(low_s, latest_s, low_s + word.start_s - offset_s))
        end_s = min(high_s, max(start_s, low_s + word.end_s - offset_s))
        latest_s = end_s
        placed.append(replace(word, start_s=round(start_s, 3), end_s=round(end_s, 3)))
    return placed


def _ends_sentence(text: str, following: str) -> bool:
    if not _is_end(text):
        return False
    bare = text.strip().rstrip(CLOSERS)
    if not bare.endswith("."):
        return True
    stem = bare[:-1].lower().lstrip("\"'“(")
    if stem in ABBREVIATIONS or (len(stem) == 1 and stem.isalpha() and stem != "i"):
        return False
    start = following.strip().lstrip("\"'“(¿¡")[:1]
    return following.startswith(" ") and not start.islower()


def _parts(words: Sequence[Word]) -> list[Sequence[Word]]:
    """Cut a sentence that is too long in two at the best place, and the parts again."""
    if words[-1].end_s - words[0].start_s <= LONGEST_SEGMENT_S or len(words) < 2 * SHORTEST_PART:
        return [words]

    def worth(at: int) -> float:  # of a cut before word `at`
        pause_s = words[at].start_s - words[at - 1].end_s
        comma = 0.5 if words[at - 1].text.rstrip()[-1:] in ",;:，、；：" else 0.0
        return pause_s + comma - abs(2 * at / len(words) - 1) * 0.5

    cut = max(range(SHORTEST_PART, len(words) - SHORTEST_PART + 1), key=worth)
    return [*_parts(words[:cut]), *_parts(words[cut:])]
