"""A test set out of a catalogue, asked of the real search with the real embedder: the samples' true texts, chapters and notes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.embed import Vectors
from index.evaluation import ORDERS, Answers, ask, compare, figures, is_few, judge
from index.notes import NoteLine, is_generic, note_lines
from index.questions import CHAPTER, MARK, NOTE, QUOTE, Question, read_questions, write_questions
from index.scorecard import differences_text, figures_text
from index.testset import PER_EPISODE, make_test_set
from index.trial import CACHE, build_trial
from pipeline.chapters import read_chapters
from pipeline.sources import list_source
from store.database import Database
from store.episodes import list_episodes, save_episode, save_show, set_transcript
from store.errors import EarmarkError, IndexUnavailable
from store.passages import passages_of, replace_passages, save_vectors
from store.records import Chapter, Moment, Segment, TranscriptHead
from store.transcripts import save_transcript
from tests import talks
from tests.catalogue import add_episode

ROOT = Path(__file__).parents[1]
WORD_S = 0.36  # the samples' voices say about 165 words a minute
GENERIC = (Chapter(3.0, "Intro"), Chapter(70.0, "Sponsor: Wooden Spoon"))


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Database:
    database = Database.in_folder(tmp_path_factory.mktemp("eval") / "data")
    stage = talks.stage(database)
    for feed in sorted(samples.glob("*.xml")):
        show = list_source(str(feed), talks.settings(database.folder))
        with database.write() as connection:
            show_id = save_show(connection, show)
        for listing in show.episodes:
            chapters = read_chapters(Path(listing.chapters_url).read_bytes()) if listing.chapters_url else ()
            with database.write() as connection:
                marked = replace(listing, chapters=tuple(sorted((*chapters, *GENERIC), key=lambda mark: mark.start_s)))
                episode_id, _ = save_episode(connection, show_id, marked)
            said = segments(Path(listing.media_url).with_suffix(".txt").read_text())
            passages, vectors = stage.prepare(episode_id, said, "en")
            with database.write() as connection:
                save_vectors(connection, stage.model, vectors)
                head = TranscriptHead("sidecar", language="en")
                set_transcript(connection, episode_id, save_transcript(connection, head, said, None))
                replace_passages(connection, episode_id, passages)
    stage.publish()
    return Database.in_folder(database.folder, read_only=True)


def segments(text: str) -> list[Segment]:
    made, start_s = [], 0.0
    for paragraph in text.split("\n\n"):
        end_s = start_s + WORD_S * len(paragraph.split())
        made.append(Segment(start_s, end_s, " ".join(paragraph.split()), language="en"))
        start_s = end_s
    return made


def asked(catalogue: Database, *questions: Question) -> Answers:
    return ask(talks.settings(catalogue.folder), catalogue, talks.embedder(), questions, lambda _: None)


def moment(episode_id: str, start_s: float, end_s: float) -> Moment:
    return Moment(episode_id, "s", "Show", "Title", "", start_s, end_s, None, "", 1.0, "", "")


class Deaf:
    """An embedder to which all texts are different: its vectors are drawn by text."""

    name, dim, max_tokens, unrelated = "deaf@sha256:00000000", 64, 256, 0.0

    def embed_passages(self, texts: list[str]) -> Vectors:
        return np.stack([self.embed_query(text) for text in texts])

    def embed_query(self, text: str) -> Vectors:
        drawn = np.random.default_rng(list(text.encode())).standard_normal(self.dim)
        return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def test_the_same_catalogue_gives_the_same_questions(catalogue: Database) -> None:
    made = make_test_set(catalogue, 40)
    assert made == make_test_set(Database.in_folder(catalogue.folder, read_only=True), 40)
    assert {question.kind for question in made.questions} == {CHAPTER, NOTE, QUOTE}
    assert made.episodes == made.with_notes == 8
    for kind in (CHAPTER, NOTE, QUOTE):
        of_kind = [question for question in made.questions if question.kind == kind]
        counts = [sum(question.episode_id == episode.id for question in of_kind) for episode in list_episodes(catalogue)]
        assert 1 <= max(counts) <= PER_EPISODE
    few = make_test_set(catalogue, 6).questions
    assert len(few) == 6 and set(few) <= set(made.questions)
    assert len({question.episode_id for question in few}) >= 4


def test_questions_stand_where_the_publisher_says(catalogue: Database) -> None:
    episodes = {episode.id: episode for episode in list_episodes(catalogue)}
    chapters = [question for question in make_test_set(catalogue, 100).questions if question.kind == CHAPTER]
    assert "Late is worse than lost" in {question.query for question in chapters}
    for question in chapters:
        assert Chapter(question.start_s or 0.0, question.query) in episodes[question.episode_id].chapters
        assert question.start_s is not None and question.end_s is not None and 15 <= question.end_s - question.start_s <= 60


def test_generic_chapters_are_left_out(catalogue: Database) -> None:
    queries = {question.query for question in make_test_set(catalogue, 100).questions}
    assert queries.isdisjoint({mark.title for mark in GENERIC})
    for title in (
        "Intro",
        "Outro",
        "Welcome back",
        "Sponsor break",
        "Final thoughts",
        "Q&A",
        "Where to find Ana",
        "Chapter 3",
        "Werbung",
        "Intro (Ana)",
    ):
        assert is_generic(title), title
    for title in (
        "Why bread rises",
        "Introduction to sourdough",
        "The news about Antarctic ice",
        "Breaking the seal",
        "Adelaide",
        "Twitter in 2016",
    ):
        assert not is_generic(title), title


def test_quotes_keep_words_in_order(catalogue: Database) -> None:
    quotes = [question for question in make_test_set(catalogue, 100).questions if question.kind == QUOTE]
    assert len(quotes) >= 8
    for question in quotes:
        said = " ".join(passage.text for passage in passages_of(catalogue, question.episode_id))
        place = 0
        for word in question.query.split():
            place = said.find(word, place) + 1
            assert place > 0, (word, question.query)
        assert question.query not in said and 3 <= len(question.query.split()) <= 6


def test_notes_are_read() -> None:
    notes = """<p>In this episode, we ask why the crust of a loaf turns brown.</p>
    <ul><li>(12:34) How much salt a dough needs</li><li>1:02:03 - Steam &amp; the lid</li></ul>
    Sourdough at home (45:10)
    [00:00] Welcome [03:30] Wild yeast in flour
    Subscribe to our newsletter!<br>Follow us on <a href="https://x.org">Twitter</a>
    Read more at https://example.org/bread. Ratio 3:2 is common.
    Bakers have known it for long. Chemists found out why in 1912."""
    assert note_lines(notes) == [
        NoteLine("we ask why the crust of a loaf turns brown."),
        NoteLine("How much salt a dough needs", 754.0),
        NoteLine("Steam & the lid", 3723.0),
        NoteLine("Sourdough at home", 2710.0),
        NoteLine("Welcome", 0.0),
        NoteLine("Wild yeast in flour", 210.0),
        NoteLine("Ratio 3:2 is common."),
        NoteLine("Bakers have known it for long."),
        NoteLine("Chemists found out why in 1912."),
    ]


def test_time_marks_of_notes_become_questions(tmp_path: Path) -> None:
    database = Database.in_folder(tmp_path)
    stage = talks.stage(database)
    episode_id = talks.add_talk(database, stage, "bread")
    with database.write() as connection:
        connection.execute("update episode set description = ?", ("0:19 Why bread rises at all\n1:01 Outro\n5:00 Far too late",))
    marks = [question for question in make_test_set(database, 20).questions if question.kind == MARK]
    assert marks == [Question("Why bread rises at all", MARK, episode_id, "About bread", 19.0, 61.0)]


def test_shows_take_turns_and_scripts_without_spaces_are_quoted(database: Database) -> None:
    small = "https://example.org/small.xml"
    for number in range(9):
        said = [f"{number}年に塩は海の中でどのように{n}回も集まるのかを話しましょう。" for n in range(12)]
        add_episode(database, f"t{number}", said)
    bread = [sentence for _, text in talks.TALKS["bread"][2] for sentence in text.split(". ")]
    add_episode(database, "s", bread, link=small)
    made = make_test_set(database, 4)
    assert len(made.questions) == 4 and {question.kind for question in made.questions} == {QUOTE}
    shows = {episode.id: episode.show_id for episode in list_episodes(database)}
    assert len({shows[question.episode_id] for question in made.questions}) == 2
    for question in made.questions:
        assert 8 <= len(question.query) <= 12 or question.query.isascii(), question.query


def test_what_is_a_hit() -> None:
    question = Question("salt", "own", "e", "Title", 100.0, 160.0)
    assert judge(question, [moment("e", 95, 140)]).plays
    late = judge(question, [moment("other", 100, 160), moment("e", 120, 300)])
    assert (late.rank, late.plays, late.gain) == (2, False, pytest.approx(1 / np.log2(3)))
    assert judge(question, [moment("e", 60, 109)]).rank == 0  # under half of either
    assert judge(question, [moment("e", 400, 460)]).rank == 0
    assert judge(question, []).rank == 0 and judge(question, []).plays is False
    anywhere = judge(replace(question, start_s=None, end_s=None), [moment("e", 400, 460)])
    assert (anywhere.rank, anywhere.plays) == (1, None)


def test_a_known_answer_scores_one_and_a_wrong_one_zero(catalogue: Database) -> None:
    episode = next(one for one in list_episodes(catalogue) if "salty" in one.title)
    passage = passages_of(catalogue, episode.id)[0]
    right = Question(passage.text[:150], "own", episode.id, episode.title, passage.start_s, passage.end_s)
    for row in figures(asked(catalogue, right)):
        assert (row.questions, row.ndcg10, row.mrr10, row.success1, row.success10, row.play1) == (1, 1, 1, 1, 1, 1), row
    wrong = replace(right, episode_id="nowhere")
    answers = asked(catalogue, wrong)
    for row in figures(answers):
        assert (row.ndcg10, row.mrr10, row.success1, row.success10, row.play1) == (0, 0, 0, 0, 0), row
    assert is_few([right, wrong])
    assert [row.order for row in figures(answers)[:4]] == list(ORDERS) and "own" in figures_text(figures(answers))


def test_saving_and_reading_gives_the_same(catalogue: Database, tmp_path: Path) -> None:
    questions = list(make_test_set(catalogue, 30).questions)
    write_questions(tmp_path / "q.jsonl", questions)
    assert read_questions(tmp_path / "q.jsonl", catalogue) == (questions, [])


def test_a_person_may_write_questions(catalogue: Database, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    title = "Why the sea is salty and lakes are not"
    own = [{"query": "salt of lakes", "title": title, "start_s": "1:02"}, {"query": "rivers", "title": "sea is salty"},
           {"query": "gone", "title": "No such talk"}]  # fmt: skip
    file.write_text("\n\n".join(map(json.dumps, own)))
    questions, missing = read_questions(file, catalogue)
    assert [(one.kind, one.title, one.start_s, one.end_s) for one in questions] == [
        ("own", title, 62.0, 122.0),
        ("own", title, None, None),
    ]
    assert missing == ["line 5: No such talk"]
    broken = {
        "{": "line 1",
        '{"query": "x"}': "neither",
        '{"query": "x", "title": "sea is salty", "start_s": 9, "end_s": 3}': "before it starts",
        "": "no question",
        '{"query": "x", "title": "No such talk"}': "none of its 1",
    }
    for line, told in broken.items():
        file.write_text(line)
        with pytest.raises(EarmarkError, match=told):
            read_questions(file, catalogue)


def test_an_embedder_beside_itself_and_beside_a_deaf_one(catalogue: Database, tmp_path: Path) -> None:
    questions = make_test_set(catalogue, 40).questions
    own = asked(catalogue, *questions)
    settings = talks.settings(catalogue.folder)
    before = (
        sorted((catalogue.folder / "index").rglob("*.json")),
        catalogue.read().execute("select count(*) from vector").fetchone()[0],
    )
    results = {}
    for number, embedder in enumerate((talks.embedder(), Deaf(), Deaf())):
        told: list[str] = []
        apart = build_trial(settings, catalogue, embedder, tmp_path / str(number), told.append)
        results[embedder.name] = compare(own, ask(apart, catalogue, embedder, questions, told.append), embedder.name)
        assert any("to embed" in line for line in told) == (number == 1)  # known vectors are read; new ones are kept for next time
    same, deaf = results.values()
    assert all((row.difference, row.low, row.high, row.verdict) == (0, 0, 0, "open") for row in same)
    meaning = next(row for row in deaf if row.order == "meaning")
    assert meaning.difference < -0.2 and meaning.low <= meaning.difference <= meaning.high < 0
    assert meaning.verdict == "open"  # 8 episodes tell nothing
    assert "deaf" in differences_text("own", deaf, len(questions))
    assert (catalogue.folder / CACHE / "earmark.db").is_file()
    assert before == (
        sorted((catalogue.folder / "index").rglob("*.json")),
        catalogue.read().execute("select count(*) from vector").fetchone()[0],
    )


def test_enough_questions_tell_a_worse_embedder() -> None:
    questions = [Question(f"q{n}", "own", f"e{n % 20}", "Title", 0.0, 60.0) for n in range(80)]
    good: Answers = {order: [judge(one, [moment(one.episode_id, 0, 60)]) for one in questions] for order in ORDERS}
    bad: Answers = {
        order: [judge(one, [moment(one.episode_id if n % 3 else "x", 0, 60)]) for n, one in enumerate(questions)]
        for order in ORDERS
    }
    (used, *_) = compare(good, bad, "bad")
    assert used.verdict == "worse" and used.low < used.difference < used.high < 0
    assert compare(bad, good, "good")[0].verdict == "better"


def test_an_index_of_another_embedder_is_told(catalogue: Database) -> None:
    question = Question("salt", "own", "e", "Title")
    with pytest.raises(IndexUnavailable, match="eval --embedder"):
        ask(talks.settings(catalogue.folder), catalogue, Deaf(), [question], lambda _: None)


# --- the command ------------------------------------------------------------------------------------------------------


def earmark(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "EARMARK_DATA": str(data), "EARMARK_MODELS_DIR": talks.models_dir(), "EARMARK_OFFLINE": "1"}
    command = [sys.executable, str(ROOT / "cli.py"), "eval", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120)


def test_the_command_prints_tables_and_json(catalogue: Database, tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    answer = earmark(catalogue.folder, "--queries", "20", "--save", str(file))
    assert answer.returncode == 0, answer.stderr
    for word in ("chapter titles", "words alone", "meaning alone", "nDCG@10", "play@1", "Too few", "nothing else"):
        assert word in answer.stdout, word
    assert "questions from 8 episodes" in answer.stderr
    again = earmark(catalogue.folder, "--queries-file", str(file), "--embedder", "all-MiniLM-L6-v2", "--json")
    report: dict[str, Any] = json.loads(again.stdout)
    questions, _ = read_questions(file, catalogue)
    assert report["questions"] == len(questions) and report["too_few"]
    assert [{key: row[key] for key in asdict(questions[0])} for row in report["answers"]] == [asdict(one) for one in questions]
    assert all(row["difference"] == 0 for row in report["differences"]) and len(report["differences"]) == 3


def test_an_empty_catalogue_is_one_sentence(tmp_path: Path) -> None:
    missing = earmark(tmp_path / "none")
    assert missing.returncode == 1 and "earmark add" in missing.stderr and not missing.stdout
    Database.in_folder(tmp_path / "empty").close()
    empty = earmark(tmp_path / "empty")
    assert empty.returncode == 1 and len(empty.stderr.splitlines()) == 1 and "no episode can be read yet" in empty.stderr


def test_without_chapters_and_notes_only_quotes_are_left(tmp_path: Path) -> None:
    database = Database.in_folder(tmp_path / "data")
    stage = talks.stage(database)
    for name in talks.TALKS:
        talks.add_talk(database, stage, name)
    stage.publish()
    answer = earmark(database.folder)
    assert answer.returncode == 0, answer.stderr
    assert "No chapters and no notes" in answer.stderr and "words of a quote" in answer.stdout
