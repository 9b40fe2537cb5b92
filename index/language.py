"""Words, stems and ends of sentences, by language.

Comes in: text and a language code. Goes out: tokens with their place, stems, and the answer to "does a sentence end here?".
Does not know: passages, queries or the index; all of them cut words here, so that both sides of a search agree.
"""

from __future__ import annotations

import re
import threading
import unicodedata
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

DEFAULT_LANGUAGE = "en"  # whose stems are used where a transcript names no language
MAX_TOKEN_CHARS = 64  # longer runs of letters are noise; they are cut here on both sides

# Letters of scripts that put no space between words: kana, Han, Thai, Lao, Khmer, Burmese.
_UNSPACED = "぀-ヿㇰ-ㇿ㐀-䶿一-鿿豈-﫿ｦ-ﾟ฀-๿຀-໿က-႟ក-៿\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])[^\W_])+(?:['’](?:(?![{_UNSPACED}])[^\W_])+)*")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")

_STEMMERS = {
    "ar": "arabic", "da": "danish", "nl": "dutch", "en": "english", "fi": "finnish", "fr": "french", "de": "german", "el": "greek",
    "hu": "hungarian", "it": "italian", "no": "norwegian", "nb": "norwegian", "nn": "norwegian", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "es": "spanish", "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip

_CLOSERS = "\"'”’»)]}）」』】》〉"
_HARD_ENDS = "。！？｡︒"  # end a sentence wherever they stand
_ENDS = ".!?…؟۔।॥。！？｡︒"
_ABBREVIATIONS = frozenset(
    {"mr", "mrs", "ms", "dr", "prof", "st", "vs", "e.g", "i.e", "cf", "approx", "dept", "u.s", "u.k", "ph.d"}
    | {"bzw", "z.b", "d.h", "u.a", "ca", "bspw", "evtl", "ggf", "hr", "fr", "mme", "mlle", "p.ex", "sr", "sra", "dra", "ud", "uds"}
)
_NUMBERED = frozenset({"no", "nos", "nr", "vol", "fig", "art", "núm", "pág", "sec", "ch"})  # abbreviations only before a number


@dataclass(frozen=True, slots=True)
class Token:
    """A word (or, in a script without spaces, a pair of characters) and where it stands in its text."""

    text: str  # folded to lower case
    start_char: int
    end_char: int


def tokens(text: str) -> list[Token]:
    """Cut text into tokens, in order. Runs without spaces give overlapping pairs of characters."""
    found = []
    for match in _TOKEN.finditer(text):
        run, start = match.group(), match.start()
        if not run.isascii() and _IS_UNSPACED.match(run):
            if len(run) == 1:
                found.append(Token(_fold(run), start, start + 1))
            found.extend(Token(_fold(run[i : i + 2]), start + i, start + i + 2) for i in range(len(run) - 1))
        else:
            found.append(Token(_fold(run[:MAX_TOKEN_CHARS]), start, match.end()))
    return found


def words(text: str) -> list[str]:
    """Return the tokens of a text as plain strings, in order: `[token.text for token in tokens(text)]`, faster."""
    if text.isascii():
        return [run[:MAX_TOKEN_CHARS] for run in _TOKEN.findall(text.lower())]
    return [token.text for token in tokens(text)]


def stem(word: str, language: str | None) -> str:
    """Return the stem of a folded word. Languages without a stemmer keep the word; accents go in any case."""
    return _stems_of(stemmer_name(language))[word]


def stems(text: str, language: str | None) -> list[str]:
    """Return the stems of a text's tokens, in order."""
    table = _stems_of(stemmer_name(language))
    return [table[word] for word in words(text)]


def stemmer_name(language: str | None) -> str:
    """Return the Snowball stemmer of a language code such as `en` or `pt-BR`; "" if it has none."""
    return _STEMMERS.get((language or DEFAULT_LANGUAGE).lower().replace("_", "-").split("-")[0], "")


def stem_hash(stem_text: str) -> int:
    """Return the 32-bit number that stands for a stem in the index."""
    return zlib.crc32(stem_text.encode())


def writes_spaces(text: str) -> bool:
    """Tell whether a piece of text is of a script that puts spaces between words."""
    return text.isascii() or _IS_UNSPACED.search(text) is None


def ends_sentence(piece: str, following: str) -> bool:
    """Tell whether a sentence ends after `piece` (a word as written), given the word `following` it ("" at the end)."""
    core = piece.strip().rstrip(_CLOSERS)
    if not core or core[-1] not in _ENDS:
        return False
    if core[-1] in _HARD_ENDS or not following:
        return True
    ahead = following.strip().lstrip("\"'“‘«([{—–- ")
    if core[-1] == "." and not core.endswith(".."):
        bare = core.strip(".,;:!?\"'“”‘’([{").lower()
        if bare in _NUMBERED and ahead[:1].isdigit():
            return False
        if bare in _ABBREVIATIONS or (len(bare) == 1 and bare.isalpha() and core[:1].isupper()):
            return False
    return not ahead[:1].islower()


class _Stems(dict[str, str]):
    """A table of stems that fills itself: a word that is missing is stemmed once and kept."""

    LIMIT = 500_000  # words; then it starts afresh, so that a server's memory stays bounded

    def __init__(self, name: str) -> None:
        super().__init__()
        self._analyzer = _analyzer(name)
        self._lock = threading.Lock()

    def __missing__(self, word: str) -> str:
        with self._lock:
            analyzed = self._analyzer.analyze(word) if self._analyzer else [word]
        result = _without_accents(analyzed[0] if analyzed else word)
        if len(self) >= self.LIMIT:
            self.clear()
        self[word] = result
        return result


@lru_cache(maxsize=32)
def _stems_of(name: str) -> _Stems:
    return _Stems(name)


def _analyzer(name: str) -> Any:
    if not name:
        return None
    import tantivy

    return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw()).filter(tantivy.Filter.stemmer(name)).build()


def _fold(run: str) -> str:
    return run.lower() if run.isascii() else unicodedata.normalize("NFKC", run).casefold().replace("’", "'")


def _without_accents(word: str) -> str:
    if word.isascii():
        return word
    decomposed = unicodedata.normalize("NFD", word)
    bare = "".join(char for char in decomposed if not "̀" <= char <= "ͯ")  # Latin, Greek and Cyrillic marks only
    return unicodedata.normalize("NFC", bare) or word
