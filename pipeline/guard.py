"""Checks on what an engine says, and what to do when one fails.

Comes in: an engine's `decode` and chunks. Goes out: each chunk's segments: as decoded, decoded again in smaller pieces or with
other settings, marked SUSPECT where no way passed, or empty where there was text on silence.
Does not know: which engine decodes. Every check looks at one chunk alone.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from pipeline.recording import SAMPLE_RATE_HZ
from pipeline.speech import Chunk
from pipeline.words import Decoded, segments_of
from store.records import SUSPECT, Segment, Word

Problem = Literal["loop", "rate", "silence", "language", "missing"]
Decode = Callable[[Sequence[Chunk], float], Sequence[Decoded]]

COMPRESSION = 2.4  # openai-whisper's own limit: text that shrinks more than this repeats itself
COMPRESSED_CHARS = 80  # shorter texts shrink too little to judge
RUNS = {1: 6, 2: 5, 3: 4}  # an n-gram said this often in a row is a loop; longer n-grams: 3 times
LONGEST_NGRAM = 12
WORDS_PER_S = 6.5  # nobody speaks faster for seconds on end
CHARS_PER_S = 32.0
WIDE_CHARS_PER_S = 13.0  # where a character is a syllable or a word: Chinese, Japanese, Korean
CROWD = 10  # so many words in a row ...
CROWD_S = 0.06  # ... each shorter than this on average were not spoken
NO_SPEECH = 0.6  # openai-whisper's own limits for text on silence
LOGPROB = -1.0
UNSURE_NO_SPEECH = 0.2  # for texts that Whisper is known to make of silence
HOLE_S = 3.0  # this much packed speech without a word was left out; longer pauses were cut away before
SPARSE_S = 6.0  # a chunk at least this long ...
SPARSE_CHARS_PER_S = 4.5  # ... with fewer letters was not heard to its end; people say 10 to 15 in a second
SPARSE_WIDE_CHARS_PER_S = 1.5
FOREIGN_SHARE = 0.5
SHORTEST_HALF_S = 3.0
RETRY_TEMPERATURE = 0.4

# What Whisper makes of silence and music, learnt from subtitles. Only dropped where the model itself hears little speech.
PHANTOMS = frozenset(
    {
        "you", "bye", "bye bye", "oh", "the", "so", "thank you", "thank you very much", "thank you so much",
        "thanks for watching", "thank you for watching", "thank you for watching this video", "please subscribe",
        "please subscribe to my channel", "subtitles by the amara org community", "like and subscribe",
        "see you next time", "i'll see you in the next video", "untertitel der amara org community",
        "untertitel im auftrag des zdf fur funk 2017", "untertitelung des zdf 2020",
        "sous titres realises para la communaute d'amara org", "sous titrage st' 501",
        "subtitulos realizados por la comunidad de amara org", "sottotitoli creati dalla comunita amara org",
        "sottotitoli e revisione a cura di qtss", "legendas pela comunidade amara org",
        "ondertiteld door de amara org gemeenschap", "продолжение следует", "субтитры сделал dimatorzok",
        "спасибо за просмотр", "ご視聴ありがとうございました", "시청해주셔서 감사합니다",
        "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目",
    }
)  # fmt: skip

SCRIPTS = {  # scripts that a language is written in; the languages that are not here are not judged
    "LATIN": "af br ca cs cy da de en es et eu fi fo fr gl haw hr ht hu id is it la lb ln lt lv mg mi ms mt nl nn no oc pl pt ro sk"
    " sl sn so sq su sv sw tl tr vi yo",
    "CYRILLIC": "be bg mk ru uk",
    "GREEK": "el",
    "HEBREW": "he",
    "ARABIC": "ar fa ur",
    "HANGUL": "ko",
    "CJK HIRAGANA KATAKANA": "ja zh yue",
    "THAI": "th",
    "DEVANAGARI": "hi mr ne",
}
WIDE = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")
SCRIPT_OF = {language: scripts.split() for scripts, languages in SCRIPTS.items() for language in languages.split()}


def problems_of(decoded: Decoded, chunk: Chunk) -> tuple[Problem, ...]:
    """Return what is wrong with an answer, if anything."""
    found: list[Problem] = []
    text = decoded.text
    if is_silence(decoded):
        return ("silence",)
    if is_loop([word.text for word in decoded.words], text):
        found.append("loop")
    if is_too_fast(decoded.words, chunk.duration_s):
        found.append("rate")
    if is_foreign(text, chunk.language):
        found.append("language")
    if leaves_out(decoded.words, chunk.duration_s):
        found.append("missing")
    return tuple(found)


def is_silence(decoded: Decoded) -> bool:
    """Say whether a text was made of silence or music."""
    if not decoded.words:
        return False
    if decoded.no_speech > NO_SPEECH and decoded.average_logprob < LOGPROB:
        return True
    return decoded.no_speech > UNSURE_NO_SPEECH and plain(decoded.text) in PHANTOMS


def is_loop(words: Sequence[str], text: str) -> bool:
    """Say whether a text repeats itself as a model does that is caught in a loop, and as speakers rarely do."""
    if len(text) >= COMPRESSED_CHARS and compression_ratio(text) > COMPRESSION:
        return True
    bare = [plain(word) for word in words]
    return any(longest_run(bare, n) >= RUNS.get(n, 3) for n in range(1, min(LONGEST_NGRAM, len(bare) // 3) + 1))


def longest_run(words: Sequence[str], n: int) -> int:
    """Return how often the same `n` words stand in a row at most; 1 if never twice."""
    longest = run = 0
    for index in range(n, len(words)):
        run = run + 1 if words[index] == words[index - n] and words[index] else 0
        longest = max(longest, run)
    return longest // n + 1


def compression_ratio(text: str) -> float:
    """Return how many times smaller zlib makes a text."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0


def is_too_fast(words: Sequence[Word], duration_s: float) -> bool:
    """Say whether nobody could have said so much in this time: the sign of a phrase that was written more often than said."""
    letters, wide = _letters(words)
    if wide:
        return letters > WIDE_CHARS_PER_S * max(1.0, duration_s)
    if len(words) > WORDS_PER_S * max(1.0, duration_s) or letters > CHARS_PER_S * max(1.0, duration_s):
        return True
    return any(words[at + CROWD - 1].end_s - words[at].start_s < CROWD * CROWD_S for at in range(len(words) - CROWD + 1))


def is_foreign(text: str, language: str | None) -> bool:
    """Say whether a text is written in a script that its language is not."""
    expected = SCRIPT_OF.get(language or "")
    scripts = Counter(_script(char) for char in text if char.isalpha())
    letters = sum(scripts.values())
    return bool(expected) and letters >= 4 and 1 - sum(scripts[script] for script in expected or ()) / letters > FOREIGN_SHARE


def leaves_out(words: Sequence[Word], duration_s: float) -> bool:
    """Say whether seconds of speech have no words: batched decoding is known to drop them (faster-whisper#1179)."""
    letters, wide = _letters(words)
    if duration_s >= SPARSE_S and letters < (SPARSE_WIDE_CHARS_PER_S if wide else SPARSE_CHARS_PER_S) * duration_s:
        return True
    edges = [0.0, *(time for word in words for time in (word.start_s, word.end_s)), duration_s]
    return any(after - before > HOLE_S for before, after in zip(edges[::2], edges[1::2], strict=True))


def _letters(words: Sequence[Word]) -> tuple[int, bool]:
    """Return the number of letters and digits, and whether most of them are whole syllables or words."""
    letters = [char for word in words for char in word.text if char.isalnum()]
    wide = sum(_script(char) in WIDE for char in letters)
    return len(letters), wide > len(letters) / 2


def plain(text: str) -> str:
    """Return a text in small letters without punctuation and accents, words apart by one space."""
    bare = "".join(char for char in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(char))
    bare = unicodedata.normalize("NFC", bare)
    return " ".join("".join(char if char.isalnum() or char == "'" else " " for char in bare).split())


def _script(char: str) -> str:
    return unicodedata.name(char, "").split(" ")[0].split("-")[0]


# --- what to do -------------------------------------------------------------------------------------------------------


def guarded(decode: Decode, chunks: Sequence[Chunk]) -> Iterator[list[Segment]]:
    """Decode chunks and yield each one's segments, in order. An answer that fails a check is tried in other ways first."""
    for chunk, decoded in zip(chunks, decode(chunks, 0.0), strict=True):
        settled, flags = settle(decode, chunk, decoded)
        yield segments_of(settled.words, chunk, flags)


def settle(decode: Decode, chunk: Chunk, decoded: Decoded) -> tuple[Decoded, tuple[str, ...]]:
    """Return the best answer for a chunk and its flags."""
    problems = problems_of(decoded, chunk)
    if not problems:
        return decoded, ()
    if "silence" in problems:
        return replace(decoded, words=()), ()
    if chunk.duration_s >= 2 * SHORTEST_HALF_S:
        return _halved(decode, chunk, decoded, problems)
    (again,) = decode([chunk], RETRY_TEMPERATURE)
    if again.words and not problems_of(again, chunk):
        return again, ()
    if problems == ("missing",):
        return decoded, ()
    return (replace(decoded, words=unlooped(decoded.words)) if "rate" in problems else decoded), (SUSPECT,)


def _halved(decode: Decode, chunk: Chunk, decoded: Decoded, problems: tuple[Problem, ...]) -> tuple[Decoded, tuple[str, ...]]:
    """Decode a chunk in two pieces: a loop cannot run on in a short piece, and what was left out is heard again."""
    at_s = quietest_s(chunk)
    at = round(at_s * SAMPLE_RATE_HZ)
    halves = [Chunk(audio, ((0.0, len(audio) / SAMPLE_RATE_HZ),), chunk.language) for audio in (chunk.audio[:at], chunk.audio[at:])]
    settled = [settle(decode, half, answer) for half, answer in zip(halves, decode(halves, 0.0), strict=True)]
    (left, left_flags), (right, right_flags) = settled
    moved = [replace(word, start_s=word.start_s + at_s, end_s=word.end_s + at_s) for word in right.words]
    if moved and not moved[0].text.startswith(" ") and left.words and moved[0].text[:1].isascii():
        moved[0] = replace(moved[0], text=" " + moved[0].text)
    joined = Decoded(
        (*left.words, *moved), (left.average_logprob + right.average_logprob) / 2, min(left.no_speech, right.no_speech)
    )
    looping = "rate" in problems_of(joined, chunk)
    if problems == ("missing",) and (left_flags or right_flags or len(joined.text) <= len(decoded.text)):
        return decoded, ()
    if looping and "rate" in problems:
        once = replace(decoded, words=unlooped(decoded.words))
        if not is_too_fast(once.words, chunk.duration_s):
            return once, (SUSPECT,)
    return joined, tuple(sorted({*left_flags, *right_flags}))


def unlooped(words: Sequence[Word]) -> tuple[Word, ...]:
    """Return the words with each phrase that stands several times in a row kept once: for what nobody could have said so fast."""
    kept: list[Word] = []
    bare: list[str] = []
    for word in words:
        kept.append(word)
        bare.append(plain(word.text))
        for n in range(1, min(LONGEST_NGRAM, len(bare) // 2) + 1):
            if bare[-n:] == bare[-2 * n : -n]:
                del kept[-n:], bare[-n:]
                break
    return tuple(kept)


def quietest_s(chunk: Chunk) -> float:
    """Return where to cut a chunk: the quietest fifth of a second in its middle third."""
    frame = SAMPLE_RATE_HZ // 50
    energy = (chunk.audio[: len(chunk.audio) // frame * frame].reshape(-1, frame) ** 2).mean(axis=1)
    smooth = np.convolve(energy, np.ones(10) / 10, mode="same")
    third = len(smooth) // 3
    return (third + int(np.argmin(smooth[third : 2 * third]))) * frame / SAMPLE_RATE_HZ
