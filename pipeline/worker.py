"""One worker process: claim a job, call its stage, commit the result.

Comes in: settings and the index stage handed on by the door. Goes out: what the stages made, in the store.
Threads share the work so that none waits for another: one fetches (network), one decodes and finds speech for the next
episodes (disk and a little CPU), the main one indexes and runs the model, with a lane beside it for each further core.
A heartbeat keeps the leases.
Does not know: how any stage does its work, or that there are other workers: the store's leases keep them apart.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from pipeline.attempts import attempt, settings_for
from pipeline.decoding import Decoding
from pipeline.intake import NARROWING, take_in
from pipeline.pictures import Pictures
from pipeline.transcribe import threads_of
from store import episodes, jobs, passages, transcripts
from store.database import Database
from store.errors import EarmarkError
from store.files import sha256_of
from store.jobs import Job
from store.logs import open_log
from store.records import JobKind, Passage, Segment
from store.settings import Settings

FETCH_KINDS: tuple[JobKind, ...] = ("remove", "list", "sync", "fetch")
ALL_KINDS: tuple[JobKind, ...] = (*FETCH_KINDS, "transcribe", "index")
IDLE_S = 0.3
BEAT_S = 1.0
INDEX_TOGETHER = 16  # episodes that are made searchable in one step
WAIT_FOR_RETRY_S = 120.0  # a run that has nothing else to do waits this long for a job that backs off
LAST_PICTURES_S = 30.0  # a run that has nothing else to do fetches missing pictures at most so long
LEAST_FREE_BYTES = 32 << 20  # on the store's disk: below this nothing is written
LOOK_FOR_SPACE_S = 2.0
TELL_EVERY_S = 30.0  # how far a change of the embedder is
PUBLISH_AGAIN_S = 30.0  # after what finds windows was away
RECORDINGS_FOLDER = "recordings"

log = logging.getLogger("earmark.worker")


class IndexStage(Protocol):
    """What a worker needs of the index room."""

    @property
    def model(self) -> str:
        """The embedder's stamp, under which vectors are kept."""

    def prepare(
        self, episode_id: str, segments: Sequence[Segment], language: str | None
    ) -> tuple[list[Passage], dict[str, passages.Vector]]:
        """Cut and embed an episode: passages, and vectors by text hash."""

    def publish(self) -> object:
        """Make everything that was committed searchable."""

    def catch_up(self) -> str:
        """Do a little of what a change of the model asks for; return what was done, "" if there is nothing to do."""


StageFactory = Callable[[Settings, Database], IndexStage]


def work(settings: Settings, index_stage: StageFactory, pipe: Connection, forever: bool) -> None:
    """Be one worker process until nothing is left. What a person should read goes through `pipe`."""
    speaking = threading.Lock()

    def say(text: str) -> None:
        with speaking:
            pipe.send(text)

    open_log(settings.data_dir)
    worker = Worker(settings, index_stage, say)
    try:
        worker.run(forever=forever)
    except (KeyboardInterrupt, BrokenPipeError):  # Ctrl-C, or the parent is gone
        pass
    finally:
        worker.stop()


class Worker:
    """The threads and what they share."""

    def __init__(self, settings: Settings, index_stage: StageFactory, say: Callable[[str], None]) -> None:
        """Open the store; models are loaded when a job first needs them."""
        self.settings = settings
        self.say = say
        self._stopping = threading.Event()
        self.database = Database.in_folder(settings.data_dir)
        self.database.before_write = self._wait_for_space
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"
        self._index_factory = index_stage
        self._index: IndexStage | None = None
        self._decoding = self._open_decoding()
        self._pictures = Pictures(settings)
        self._idle_since = 0.0
        self._told_at = -TELL_EVERY_S  # when the last word was said of a change of the embedder
        self._threads: list[threading.Thread] = []
        self._publish_at: float | None = None  # when to try again what could not be made searchable

    def _open_decoding(self) -> Decoding:
        if not self.settings.ray:
            return Decoding(self.settings, self.database, self.owner, self.say)
        from pipeline.cluster import ClusterDecoding

        return ClusterDecoding(self.settings, self.database, self.owner, self.say)

    def run(self, *, forever: bool = False) -> None:
        """Work until nothing is left to do, or for ever."""
        lanes = (self._decode,) * (0 if self.settings.ray else threads_of(self.settings) - 1)  # the main thread is the first
        for body in (self._beat, self._fetch, self._prepare, *lanes):
            thread = threading.Thread(target=self._guarded, args=(body,), name=body.__name__, daemon=True)
            thread.start()
            self._threads.append(thread)
        while not self._stopping.is_set():
            if self._index_due() or self._decoding.step() or self._caught_up():
                continue
            if self._is_over(forever):
                break
            self._stopping.wait(IDLE_S)
        if self._publish_at is not None:
            self._publish()

    def stop(self) -> None:
        """Let the threads end and give every lease back."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=10)
        self._decoding.close()
        jobs.release_all(self.database, self.owner)

    # --- threads ------------------------------------------------------------------------------------------------------

    def _guarded(self, body: Callable[[], None]) -> None:
        """Run a thread; should it break, the process ends, and its parent starts another."""
        try:
            body()
        except BaseException:
            log.exception("thread %s broke", body.__name__)
            self.say(f"a worker thread broke ({body.__name__.strip('_')}); the log has the details")
            os._exit(70)

    def _beat(self) -> None:
        parent = os.getppid()
        renewed = time.monotonic()
        while not self._stopping.wait(BEAT_S):
            if os.getppid() != parent:  # the parent was killed: nobody would stop us any more
                os._exit(71)
            if time.monotonic() - renewed > jobs.LEASE_S / 4:
                jobs.renew_all(self.database, self.owner)
                renewed = time.monotonic()

    def _fetch(self) -> None:
        while not self._stopping.is_set():
            claimed = jobs.claim(self.database, self.owner, FETCH_KINDS)
            if not claimed and not self._pictures.fetch_next(self.database):
                self._stopping.wait(IDLE_S)
            for job in claimed:
                self._attempt(job, self._handler(job.kind))

    def _prepare(self) -> None:
        while not self._stopping.is_set():
            claimed = jobs.claim(self.database, self.owner, ("transcribe",)) if self._decoding.has_room() else []
            if not claimed:
                self._stopping.wait(IDLE_S)
            for job in claimed:
                self._attempt(job, self._decoding.prepare)

    def _decode(self) -> None:
        while not self._stopping.is_set():
            if not self._decoding.step():
                self._stopping.wait(IDLE_S)

    def _wait_for_space(self) -> None:
        """Hold every write while the store's disk is full: a run that waits loses nothing, one that dies loses its batch."""
        told = False
        while not self._stopping.is_set() and shutil.disk_usage(self.database.folder).free < LEAST_FREE_BYTES:
            if not told:
                self.say(f"the disk is full: waiting until {LEAST_FREE_BYTES >> 20} MB are free in {self.database.folder}")
                told = True
            self._stopping.wait(LOOK_FOR_SPACE_S)

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def _attempt(self, job: Job, handler: Callable[[Job], None]) -> None:
        attempt(self.database, job, handler, self.say)

    def _handler(self, kind: JobKind) -> Callable[[Job], None]:
        handlers: dict[JobKind, Callable[[Job], None]] = {
            "list": self._list,
            "sync": self._list,
            "fetch": self._fetch_episode,
            "remove": self._remove,
        }
        return handlers[kind]

    def _list(self, job: Job) -> None:
        from pipeline.sources import list_source

        options = dict(job.options)
        link, etag, last_modified = options.pop("link", ""), "", ""
        if not link:  # a show that is here already: only what is new since it was last read
            show = episodes.get_show(self.database, job.show_id or "")
            link = show.link
            etag, last_modified = episodes.freshness(self.database, show.id)
            options = {**episodes.show_options(self.database, show.id), **options}
        narrow = {name: options.pop(name, None) for name in NARROWING}
        settings = settings_for(self.settings, job)
        listing = list_source(link, settings, **narrow, etag=etag, last_modified=last_modified)
        with self.database.write() as connection:
            jobs.fence(connection, job)
            taken = None if listing.unchanged else take_in(connection, listing, options, narrow, show_id=job.show_id)
            jobs.finish(connection, job)
        self._pictures.look_again()
        if taken is not None:
            gone = f", {len(taken.gone)} no longer listed (kept)" if taken.gone else ""
            self.say(f"{listing.title}: {len(taken.new)} new episodes{gone}")

    def _fetch_episode(self, job: Job) -> None:
        from pipeline.recording import declared_duration_s
        from pipeline.sources import fetch_captions, fetch_chapters, fetch_media

        settings = settings_for(self.settings, job)
        episode = episodes.get_episode(self.database, job.episode_id or "")
        self._pictures.fetch((episodes.get_show(self.database, episode.show_id).image_url, episode.image_url))
        chapters = () if episode.chapters else fetch_chapters(episode, settings)
        captions = None if settings.captions == "ignore" else fetch_captions(episode, settings)
        if captions is not None:
            head, segments = captions
            here = Path(episode.media_url)  # a recording of this machine can be played where it lies; others stay the publisher's
            sha256 = sha256_of(here) if here.is_absolute() and here.is_file() else ""
            with self.database.write() as connection:
                jobs.fence(connection, job)
                if sha256:
                    size_bytes, duration_s = here.stat().st_size, episode.duration_s
                    recording_id = episodes.save_recording(connection, sha256, str(here), size_bytes, duration_s)
                    episodes.set_recording(connection, episode.id, recording_id)
                transcript_id = transcripts.save_transcript(connection, head, segments, None)
                episodes.set_transcript(connection, episode.id, transcript_id)
                if episode.duration_s is None and segments:
                    episodes.set_duration(connection, episode.id, segments[-1].end_s)
                if chapters:
                    episodes.save_chapters(connection, episode.id, chapters)
                jobs.enqueue(connection, "index", episode_id=episode.id, options=job.options)
                jobs.finish(connection, job)
            self.say(f"{episode.title}: the publisher's transcript is used")
            return
        if settings.captions == "only":
            raise EarmarkError(
                "the publisher offers no transcript", where=episode.title, next_step="Try again with --captions prefer"
            )

        def report(share: float) -> None:
            jobs.heartbeat(self.database, job, progress=share)

        fetched = fetch_media(episode, self.database.folder / RECORDINGS_FOLDER, settings, report)
        duration_s = declared_duration_s(fetched.path)
        path = str(fetched.path.relative_to(self.database.folder)) if fetched.is_ours else str(fetched.path.absolute())
        with self.database.write() as connection:
            jobs.fence(connection, job)
            if fetched.details is not None:  # what the page said when it was opened: more than its line in the list
                episodes.save_episode(connection, episode.show_id, replace(fetched.details, guid=episode.guid))
            recording_id = episodes.save_recording(
                connection, fetched.sha256, path, fetched.size_bytes, duration_s, fetched.warning
            )
            episodes.set_recording(connection, episode.id, recording_id)
            if chapters:
                episodes.save_chapters(connection, episode.id, chapters)
            jobs.enqueue(connection, "transcribe", episode_id=episode.id, options=job.options)
            jobs.finish(connection, job)
        kept = episodes.get_recording(self.database, recording_id).path
        if fetched.is_ours and Path(kept) != fetched.path:  # the same content was here already
            fetched.path.unlink(missing_ok=True)

    def _remove(self, job: Job) -> None:
        target = job.episode_id or job.show_id or ""
        with self.database.write() as connection:
            jobs.fence(connection, job)
            remove = episodes.remove_episode if job.episode_id else episodes.remove_show
            paths = remove(connection, target)  # takes this job's row along
        for path in paths:
            (self.database.folder / path).unlink(missing_ok=True)
        self._pictures.sweep(self.database)
        self._publish()

    def _index_due(self) -> bool:
        """Index what is due; tell whether there was anything."""
        if self._publish_at is not None and time.monotonic() >= self._publish_at:
            self._publish()
        claimed = jobs.claim(self.database, self.owner, ("index",), limit=INDEX_TOGETHER)
        outcomes: list[str] = []
        for job in claimed:
            self._attempt(job, self._indexer(outcomes))
        if outcomes:
            self._publish()
            for outcome in outcomes if self._publish_at is None else ():
                self.say(outcome)
        return bool(claimed)

    def _publish(self) -> None:
        """Make what was committed searchable. If what finds windows is away, that is told, and it is tried again later."""
        self._publish_at = None
        try:
            self._stage().publish()
        except EarmarkError as error:
            if error.permanent:
                raise
            self.say(f"not searchable yet: {error.sentence}")
            self._publish_at = time.monotonic() + PUBLISH_AGAIN_S

    def _caught_up(self) -> bool:
        """Do a little of what a change of the embedder asks for; tell whether there was anything."""
        try:
            done = self._stage().catch_up()
        except EarmarkError as error:
            done = ""
            if time.monotonic() - self._told_at > TELL_EVERY_S:
                self._told_at = time.monotonic()
                self.say(f"the embedder cannot be changed now: {error.sentence}")
        if done and (time.monotonic() - self._told_at > TELL_EVERY_S or "left" not in done):
            self._told_at = time.monotonic()
            self.say(done)
        return bool(done)

    def _indexer(self, outcomes: list[str]) -> Callable[[Job], None]:
        """Return the handler of an index job; what it did is added to `outcomes`, to be told once it can be found."""

        def index(job: Job) -> None:
            episode = episodes.get_episode(self.database, job.episode_id or "")
            assert episode.transcript_id is not None
            segments = transcripts.read_segments(self.database, episode.transcript_id)
            head = transcripts.read_head(self.database, episode.transcript_id)
            stage = self._stage()
            cut, vectors = stage.prepare(episode.id, segments, head.language or episode.language)
            with self.database.write() as connection:
                jobs.fence(connection, job)
                passages.replace_passages(connection, episode.id, cut)
                passages.save_vectors(connection, stage.model, vectors)
                jobs.finish(connection, job)
            outcomes.append(f"{episode.title}: {'searchable' if cut else 'no speech in it'}")

        return index

    def _stage(self) -> IndexStage:
        if self._index is None:
            self._index = self._index_factory(self.settings, self.database)
        return self._index

    def _is_over(self, forever: bool) -> bool:
        if forever:
            return False
        due_at = jobs.next_due_at(self.database, ALL_KINDS)
        if due_at is None:
            self._idle_since = self._idle_since or time.monotonic()
            return self._pictures.caught_up or time.monotonic() - self._idle_since > LAST_PICTURES_S
        self._idle_since = 0.0
        if due_at - time.time() > max(WAIT_FOR_RETRY_S, jobs.LEASE_S):
            self.say("what is left waits for a later try: `earmark run` goes on with it")
            return True
        return False
