"""Transcribing several episodes at once: batches that mix recordings, committed chunk by chunk.

Comes in: leased transcribe jobs. Goes out: chunks in the store as they are decoded, and a transcript when the last one is in.
A batch is committed in one transaction, fenced job by job: a job that lost its lease loses only its own chunks. A batch that
fails is tried again one chunk at a time, and only the culprit's job fails.
Does not know: where a job comes from, what happens to a transcript afterwards.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.attempts import attempt, settings_for
from pipeline.batches import padded_s
from pipeline.recording import Spool
from pipeline.retention import keep_only_what_is_wanted
from pipeline.speech import Chunk, Span
from pipeline.transcribe import PLAN_VERSION, Engine, cut_chunk, language_of, open_engine, plan_recording
from store import episodes, jobs, transcripts
from store.database import Database
from store.errors import EngineError, LeaseLost, RecordingError
from store.jobs import Job
from store.records import Recording, Segment, TranscriptHead
from store.settings import Settings

AHEAD = 3  # episodes that are decoded and cut while another is being transcribed

log = logging.getLogger("earmark.decoding")


@dataclass(slots=True)
class Take:
    """A leased transcribe job with its decoded recording and the chunks that are still to do."""

    job: Job
    recording: Recording
    spool: Spool
    plan: str
    language: str
    engine_key: tuple[str, str]
    settings: Settings
    pending: dict[int, tuple[Span, ...]]
    done_s: float
    speech_s: float
    warnings: list[str] = field(default_factory=list)


class Decoding:
    """The takes of one worker process and the engines they need."""

    def __init__(self, settings: Settings, database: Database, owner: str, say: Callable[[str], None]) -> None:
        """Nothing is loaded before a job needs it."""
        self.settings, self.database, self.owner, self.say = settings, database, owner, say
        self._takes: list[Take] = []
        self._in_hand: set[tuple[int, int]] = set()  # (job id, ordinal) of the chunks that lanes are decoding
        self._lanes_busy = 0
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._engines: dict[tuple[str, str], Engine] = {}

    def has_room(self) -> bool:
        """Tell whether another episode may be prepared."""
        with self._lock:
            return len(self._takes) < AHEAD

    def prepare(self, job: Job) -> None:
        """Decode a job's recording, find its speech, and put its chunks in line. Raises `EarmarkError`."""
        settings = settings_for(self.settings, job)
        episode = episodes.get_episode(self.database, job.episode_id or "")
        if episode.recording_id is None:
            raise RecordingError("its recording was never fetched", where=episode.title, next_step="Add it again: earmark add")
        recording = episodes.get_recording(self.database, episode.recording_id)
        engine_key = (settings.engine, settings.model)
        engine = self._engine(engine_key, settings)
        asked = settings.language  # what a feed says of its language is too often a default that nobody changed
        options: dict[str, object] = {"language": asked, "compute_type": engine.compute_type, "plan": PLAN_VERSION}
        known = transcripts.transcript_of_recording(self.database, recording.id, engine.name, engine.model, options)
        if known is not None:
            with self.database.write() as connection:
                jobs.fence(connection, job)
                self._hand_over(connection, job, known)
            return
        if not recording.path:
            raise RecordingError(
                "its file was dropped after transcription", where=episode.title, next_step="Add it again to fetch it"
            )
        spool = Spool(Path(recording.path), self.database.folder / "tmp")
        try:
            plan = json.dumps([engine.name, engine.model, options], sort_keys=True)
            chunks = transcripts.read_chunks(self.database, recording.id, plan)
            # Found before the transaction: voice activity takes half a minute for three hours, and nobody else could write.
            cut = () if chunks else plan_recording(spool).chunks
            with self.database.write() as connection:
                jobs.fence(connection, job)
                episodes.measure_recording(connection, recording.id, spool.duration_s, "; ".join(spool.warnings))
                transcripts.save_plan(connection, recording.id, plan, cut)
            chunks = chunks or transcripts.read_chunks(self.database, recording.id, plan)
            lengths = {chunk.ordinal: sum(end - start for start, end in chunk.spans) for chunk in chunks}
            language = asked or language_of(spool, [chunk.spans for chunk in chunks], engine) or ""
            take = Take(
                job=job,
                recording=recording,
                spool=spool,
                plan=plan,
                language=language,
                engine_key=engine_key,
                settings=settings,
                pending={chunk.ordinal: chunk.spans for chunk in chunks if chunk.segments is None},
                done_s=sum(lengths[chunk.ordinal] for chunk in chunks if chunk.segments is not None),
                speech_s=max(sum(lengths.values()), 1e-9),
                warnings=list(spool.warnings),
            )
        except BaseException:
            spool.close()
            raise
        with self._lock:
            self._takes.append(take)

    def step(self) -> bool:
        """Decode and commit one batch; tell whether there was one. Several threads ("lanes") may do this at once."""
        with self._lock:
            takes = list(self._takes)
        finished = [take for take in takes if not take.pending]
        for take in finished:
            self._close(take, self._finish)
        engine, batch, chunks = self._begin()
        if engine is None:
            return bool(finished)
        try:
            self._commit(self._decode(engine, batch, chunks))
        finally:
            with self._lock:
                self._lanes_busy -= 1
                self._in_hand -= {(take.job.id, ordinal) for take, ordinal in batch}
        return True

    def close(self) -> None:
        """Give up what is in hand; what was committed stays."""
        with self._lock:
            takes, self._takes = self._takes, []
        for take in takes:
            take.spool.close()

    # --- parts of a step ----------------------------------------------------------------------------------------------

    def _begin(self) -> tuple[Engine | None, list[tuple[Take, int]], list[Chunk]]:
        """Take a batch in hand, its audio cut out; no engine where none is due or all lanes are busy."""
        with self._lock:  # a take that is let go of leaves the list before its spool is closed
            batch = self._choose(self._takes, self._in_hand)
            if not batch:
                return None, [], []
            engine = self._engines[batch[0][0].engine_key]
            if self._lanes_busy >= engine.lanes:
                return None, [], []
            chunks = [cut_chunk(take.spool, take.pending[ordinal], take.language or None) for take, ordinal in batch]
            self._lanes_busy += 1
            self._in_hand |= {(take.job.id, ordinal) for take, ordinal in batch}
        return engine, batch, chunks

    def _decode(
        self, engine: Engine, batch: Sequence[tuple[Take, int]], chunks: Sequence[Chunk]
    ) -> list[tuple[Take, int, list[Segment]]]:
        """Decode a batch; one that fails is tried again chunk by chunk, and only the culprit's job fails."""
        self._log("decode", batch)
        try:
            segments = list(engine.transcribe(chunks))
        except EngineError as error:
            if len(batch) > 1:
                alone = [self._decode(engine, [part], [chunk]) for part, chunk in zip(batch, chunks, strict=True)]
                return [found for one in alone for found in one]
            self._fail(batch[0][0], error)
            return []
        return [(take, ordinal, found) for (take, ordinal), found in zip(batch, segments, strict=True)]

    def _commit(self, found: Sequence[tuple[Take, int, list[Segment]]]) -> None:
        lost: set[int] = set()
        with self.database.write() as connection:
            for take, ordinal, segments in found:
                try:
                    jobs.fence(connection, take.job)
                except LeaseLost:
                    lost.add(take.job.id)
                    continue
                transcripts.save_chunk(connection, take.recording.id, take.plan, ordinal, segments)
                take.done_s += sum(end - start for start, end in take.pending[ordinal])
                jobs.set_progress(connection, take.job, min(1.0, take.done_s / take.speech_s))
        with self._lock:  # only what is committed is no longer to do
            for take, ordinal, _ in found:
                if take.job.id not in lost:
                    del take.pending[ordinal]
        self._log("commit", [(take, ordinal) for take, ordinal, _ in found])
        for take in {id(take): take for take, _, _ in found}.values():
            if take.job.id in lost:
                log.info("job %s was taken over or stopped", take.job.id)
                self._close(take, None)
            elif not take.pending:
                self._close(take, self._finish)

    def _finish(self, take: Take) -> None:
        engine = self._engines[take.engine_key]
        chunks = transcripts.read_chunks(self.database, take.recording.id, take.plan)
        segments = [segment for chunk in chunks for segment in chunk.segments or ()]
        options = json.loads(take.plan)[2]
        head = TranscriptHead("engine", engine.name, engine.model, take.language or None, options, tuple(take.warnings))
        with self.database.write() as connection:
            jobs.fence(connection, take.job)
            transcript_id = transcripts.save_transcript(connection, head, segments, take.recording.id)
            self._hand_over(connection, take.job, transcript_id)
            transcripts.delete_chunks(connection, take.recording.id)
        keep_only_what_is_wanted(self.settings.keep_recordings, self.database, take.recording, self.say)

    def _hand_over(self, connection: Any, job: Job, transcript_id: int) -> None:
        episodes.set_transcript(connection, job.episode_id or "", transcript_id)
        jobs.enqueue(connection, "index", episode_id=job.episode_id, options=job.options)
        jobs.finish(connection, job)

    def _close(self, take: Take, last: Callable[[Take], None] | None) -> None:
        """Let go of a take, after `last` has been done with it."""
        with self._lock:
            if take not in self._takes:
                return
            self._takes.remove(take)
        try:
            if last is not None:
                attempt(self.database, take.job, lambda _job: last(take), self.say)
        finally:
            take.spool.close()

    def _fail(self, take: Take, error: Exception) -> None:
        def raise_it(_take: Take) -> None:
            raise error

        self._close(take, raise_it)

    def _choose(self, takes: Sequence[Take], taken: Collection[tuple[int, int]] = ()) -> list[tuple[Take, int]]:
        """Choose the next batch: chunks of one engine, one language and about one length, from all takes, the oldest take first.

        `taken` names chunks that are in hand already, as (job id, ordinal).
        """
        takes = [take for take in takes if any((take.job.id, ordinal) not in taken for ordinal in take.pending)]
        if not takes:
            return []
        key = takes[0].engine_key
        waiting = 0
        groups: dict[tuple[str, float], list[tuple[Take, int]]] = {}
        for take in takes:
            for ordinal, spans in take.pending.items():
                if take.engine_key == key and (take.job.id, ordinal) not in taken:
                    length_s = padded_s(sum(end - start for start, end in spans))
                    groups.setdefault((take.language, length_s), []).append((take, ordinal))
                    waiting += 1
        engine = self._engines[key]
        size = min(engine.batch_size, math.ceil(waiting / engine.lanes))  # the last chunks are shared out over the lanes
        # Full groups first; where there is none the oldest take must not wait for company.
        candidates = [group for group in groups.values() if len(group) >= size] or list(groups.values())
        best = min(candidates, key=lambda group: (takes.index(group[0][0]), -len(group)))
        return best[:size]

    def _engine(self, key: tuple[str, str], settings: Settings) -> Engine:
        with self._opening:
            if key not in self._engines:
                self._engines[key] = self._open(settings)
            return self._engines[key]

    def _open(self, settings: Settings) -> Engine:
        return open_engine(settings, self.say)

    def _log(self, text: str, parts: Sequence[tuple[Take, int]]) -> None:
        log.info(text, extra={"stage": "transcribe", "chunks": [(take.recording.id, ordinal) for take, ordinal in parts]})
