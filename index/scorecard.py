"""An evaluation as a person reads it in a terminal.

Comes in: figures and differences. Goes out: text, with what the figures mean and what they do not.
Does not know: how questions were asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from index.evaluation import ALL, FEW_EPISODES, FEW_QUESTIONS, NEAR_S, ORDERS, Difference, Figures, Order
from index.questions import CHAPTER, MARK, NOTE, OWN, QUOTE

ORDER_NAMES: dict[Order, str] = {
    "used": "as searched",
    "scores": "scores, not the learned order",
    "words": "words alone",
    "meaning": "meaning alone",
}
KIND_NAMES = {
    ALL: "all",
    CHAPTER: "chapter titles",
    MARK: "notes with a time",
    NOTE: "notes, whole episode",
    QUOTE: "words of a quote",
    OWN: "own questions",
}
VERDICTS = {"better": "better", "worse": "worse", "open": "cannot be told apart"}
NOTE_TEXT = (
    "Such questions are publishers' words and words of the transcripts, have one right answer each and are judged by position:"
    "\nother good moments count as misses, and quotes favour words. The figures compare settings on this catalogue, nothing else."
)
FEW_TEXT = f"Too few to tell settings apart: that takes {FEW_QUESTIONS} questions on {FEW_EPISODES} episodes or more."
LEARNED_TEXT = (
    "An interval that holds zero says that the difference may be chance; more questions (--queries) make it narrower."
    "\nThe learned order was trained with all-MiniLM-L6-v2: another model may be worth more than it shows there."
)
COLUMNS = "nDCG@10   MRR@10  first   top 10  play@1"


def figures_text(rows: Sequence[Figures]) -> str:
    """Return two tables: every kind as it is searched, and all questions in every order."""
    used = [row for row in rows if row.order == "used"]
    whole = {row.order: row for row in rows if row.kind == ALL}
    lines = [f"{'as searched':31} {'n':>5}   {COLUMNS}"]
    lines += [_line(KIND_NAMES.get(row.kind, row.kind), row) for row in [*used[1:], *used[:1]]]
    lines += ["", f"{'all questions, by order':31} {'n':>5}   {COLUMNS}"]
    lines += [_line(ORDER_NAMES[order], whole[order]) for order in ORDERS]
    lines += ["", f"{'nDCG@10 by kind and order':31} {'n':>5}   searched  scores   words  meaning"]
    for row in used[1:]:
        values = [one.ndcg10 for order in ORDERS for one in rows if (one.kind, one.order) == (row.kind, order)]
        lines.append(
            f"{KIND_NAMES.get(row.kind, row.kind):31} {row.questions:5}   " + "   ".join(f"{value:6.3f}" for value in values)
        )
    lines += [
        "",
        f"first, top 10: the right moment is there.  play@1: the first moment starts within {NEAR_S:.0f} s of the true start.",
    ]
    return "\n".join(lines)


def differences_text(own: str, rows: Sequence[Difference], questions: int) -> str:
    """Return embedders beside the catalogue's own, with the intervals of the differences."""
    lines = [f"nDCG@10 on the same {questions} questions; {own} is the catalogue's own embedder"]
    for row in rows:
        if row.order == ORDERS[0]:
            lines += ["", f"{row.embedder:36}   own   other   difference [95 % interval]"]
        interval = f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
        lines.append(f"  {ORDER_NAMES[row.order]:32}   {row.own:.3f}   {row.other:.3f}   {interval}  {VERDICTS[row.verdict]}")
    return "\n".join([*lines, "", LEARNED_TEXT])


def _line(name: str, row: Figures) -> str:
    play = "     -" if row.play1 is None else f"{row.play1:6.3f}"
    return f"{name:31} {row.questions:5}    {row.ndcg10:6.3f}   {row.mrr10:6.3f} {row.success1:6.3f}   {row.success10:6.3f}  {play}"
