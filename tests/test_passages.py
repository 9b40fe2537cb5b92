from __future__ import annotations

from index.language import ends_sentence, stem, stems, tokens, words
from index.passages import cut_passages, window_text
from store.records import Segment, Word, text_hash


def spoken(text: str, start_s: float = 0.0, *, step_s: float = 0.5, speaker: str | None = None) -> Segment:
    parts = text.split()
    timed = tuple(Word(f" {part}", start_s + n * step_s, start_s + (n + 0.8) * step_s) for n, part in enumerate(parts))
    return Segment(start_s, start_s + len(parts) * step_s, text, timed, speaker)


def test_nothing_gives_nothing() -> None:
    assert cut_passages("e", [], "en") == []
    assert cut_passages("e", [Segment(0, 1, "  ")], "en") == []


def test_whole_sentences_of_about_eighty_words() -> None:
    text = " ".join(f"This is sentence number {n} of a talk that goes on for a while." for n in range(60))
    passages = cut_passages("e", [Segment(0, 400, text)], "en")
    assert [passage.ordinal for passage in passages] == list(range(len(passages)))
    for passage in passages[:-1]:
        assert 70 <= len(passage.text.split()) <= 90
        assert passage.text.endswith(".")
    assert " ".join(passage.text for passage in passages) == text
    assert passages[0].text_hash == text_hash(passages[0].text)


def test_sentences_know_their_place_and_time() -> None:
    segments = [spoken("Bread needs salt. Two percent"), spoken("is enough. Then wait.", 2.5)]
    (passage,) = cut_passages("e", segments, "en")
    starts = [sentence.start_char for sentence in passage.sentences]
    assert [passage.text[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] == [
        "Bread needs salt.",
        "Two percent is enough.",
        "Then wait.",
    ]
    assert [sentence.start_s for sentence in passage.sentences] == [0.0, 1.5, 3.5]
    assert passage.sentences[1].end_s == 2.5 + 1.8 * 0.5  # the sentence runs on into the second segment
    assert (passage.start_s, passage.end_s) == (0.0, passage.sentences[-1].end_s)


def test_a_new_speaker_ends_the_sentence() -> None:
    segments = [Segment(0, 2, "And then we", speaker="Ana"), Segment(2, 4, "no, wait", speaker="Ben")]
    (passage,) = cut_passages("e", segments, "en")
    assert len(passage.sentences) == 2
    assert passage.speakers == ("Ana", "Ben")


def test_no_full_stops_are_cut_at_the_longest_pause() -> None:
    words_ = [Word(f" w{n}", n * 0.5 + (3.0 if n >= 45 else 0.0), n * 0.5 + 0.4 + (3.0 if n >= 45 else 0.0)) for n in range(100)]
    segment = Segment(0, 53, "".join(word.text for word in words_).strip(), tuple(words_))
    passages = cut_passages("e", [segment], "en")
    starts = [sentence.start_s for passage in passages for sentence in passage.sentences]
    assert 45 * 0.5 + 3.0 in starts
    assert sum(len(passage.text.split()) for passage in passages) == 100


def test_words_that_say_something_else_are_not_trusted() -> None:
    segment = Segment(0, 4, "One two. Three four.", (Word(" something", 0, 1), Word(" else", 1, 2)))
    (passage,) = cut_passages("e", [segment], "en")
    assert passage.text == "One two. Three four."
    assert 1.5 < passage.sentences[1].start_s < 2.5


def test_japanese_is_cut_at_its_own_punctuation() -> None:
    sentence = "東京都の天気は晴れです。"
    passages = cut_passages("e", [Segment(n * 4.0, n * 4.0 + 4.0, sentence) for n in range(27)], "ja")
    assert len(passages) == 3  # about 110 characters each
    assert "".join(passage.text for passage in passages) == sentence * 27
    assert all(passage.text.endswith("。") for passage in passages)
    assert all(passage.language == "ja" for passage in passages)


def test_the_segments_language_wins() -> None:
    (passage,) = cut_passages("e", [Segment(0, 1, "Das ist gut.", language="de"), Segment(1, 2, "Sehr gut.", language="de")], "en")
    assert passage.language == "de"


def test_ends_of_sentences() -> None:
    assert ends_sentence("done.", "Next")
    assert ends_sentence("done.”", "Next")
    assert ends_sentence("really?", "Yes")
    assert not ends_sentence("Dr.", "Smith")
    assert not ends_sentence("e.g.", "bread")
    assert not ends_sentence("J.", "Smith")
    assert not ends_sentence("No.", "5")
    assert ends_sentence("No.", "That")
    assert not ends_sentence("2.5", "percent")
    assert ends_sentence("終わり。", "次")


def test_window_joins_with_a_space_only_where_one_is_written() -> None:
    first, second = (cut_passages("e", [Segment(0, 1, text)], None)[0] for text in ("東京。", "京都。"))
    assert window_text(first, second) == "東京。京都。"
    assert window_text(first, None) == "東京。"
    first, second = (cut_passages("e", [Segment(0, 1, text)], None)[0] for text in ("One.", "Two."))
    assert window_text(first, second) == "One. Two."


def test_tokens_and_stems() -> None:
    assert words("Don't panic: GPT-4, k8s & BIP340!") == ["don't", "panic", "gpt", "4", "k8s", "bip340"]
    assert words("東京都") == ["東京", "京都"]
    assert [(token.start_char, token.end_char) for token in tokens("Ein Café, bitte")] == [(0, 3), (4, 8), (10, 15)]
    assert stems("running runs runner's", "en") == ["run", "run", "runner"]
    assert stem("häuser", "de") == stem("haus", "de") or stem("häuser", "de") == "haus"
    assert stem("日本", "ja") == "日本"
    assert all(token.text == word for token, word in zip(tokens("Ümläut ﬁne"), words("Ümläut ﬁne"), strict=True))
