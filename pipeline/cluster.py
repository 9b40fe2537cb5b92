"""Many machines: the same takes, their batches decoded by Ray actors.

Comes in: leased transcribe jobs of the worker that drives the cluster. Goes out: the same commits as on one machine: the driver
alone writes, it cuts and sends the audio, actors only hold an engine. An actor that dies (its node went, it ran out of memory)
costs the batches it had in hand; the driver queues them again. Ray retries nothing itself: its own retries lost work (FACTS).
Does not know: how a cluster is started or grown; more nodes mean more actors.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.decoding import Decoding, Take
from pipeline.recording import Samples
from pipeline.speech import Chunk
from pipeline.transcribe import cut_chunk, open_engine
from store.database import Database
from store.errors import EarmarkError, EngineError, SettingsError
from store.records import Segment
from store.settings import Settings

if TYPE_CHECKING:
    from pipeline.transcribe import Engine
    from pipeline.words import Decoded

IN_FLIGHT = 2  # batches an actor: one in work, one waiting beside it
LOOK_FOR_NODES_S = 15.0
WAIT_S = 0.3
MAX_DEATHS = 3  # a chunk that was alone in hand when so many actors died is the culprit
KEPT_ENVIRONMENT = ("PYTHONPATH",)

log = logging.getLogger("earmark.cluster")


class EngineHolder:
    """What runs on a node: one engine, opened there with the weights that are found there."""

    def __init__(self, settings: Settings) -> None:
        """Open the engine; what it says goes to the node's log."""
        self._engine = open_engine(settings, log.info)

    def describe(self) -> tuple[str, str, str, str, int]:
        """Return name, model, device, compute type and batch size."""
        engine = self._engine
        return engine.name, engine.model, engine.device, engine.compute_type, engine.batch_size

    def detect_language(self, audios: Sequence[Samples]) -> list[dict[str, float]]:
        """As `Engine.detect_language`."""
        return self._engine.detect_language(audios)

    def transcribe(self, chunks: Sequence[Chunk]) -> list[list[Segment]]:
        """As `Engine.transcribe`, all at once."""
        return list(self._engine.transcribe(chunks))


class RemoteEngine:
    """The driver's view of the engines on the nodes: an `Engine` whose every call goes to one that lives."""

    lanes = 1  # the driver alone hands out batches

    def __init__(self, actors: list[Any], start: Callable[[], Any]) -> None:
        """Ask an actor what it opened. `actors` is the driver's own list; `start` starts another where none is left."""
        self._actors, self._start = actors, start
        self.name, self.model, self.device, self.compute_type, self.batch_size = self._ask("describe")

    def detect_language(self, audios: Sequence[Samples]) -> list[dict[str, float]]:
        """Return each sound's probability of every language."""
        return list(self._ask("detect_language", list(audios)))

    def transcribe(self, chunks: Sequence[Chunk]) -> Iterator[list[Segment]]:
        """Yield one list of segments a chunk, in order."""
        yield from self._ask("transcribe", list(chunks))

    def _ask(self, method: str, *arguments: Any) -> Any:
        import ray

        for _ in range(MAX_DEATHS):
            if not self._actors:
                self._actors.append(self._start())
            actor = self._actors[0]
            try:
                return _get(getattr(actor, method).remote(*arguments))
            except ray.exceptions.RayActorError as error:  # its node went, perhaps before it ever ran
                log.warning("actor died: %s", error)
                if actor in self._actors:
                    self._actors.remove(actor)
        raise EngineError("one engine after the other died", where="cluster", next_step="Look at Ray's log: ray logs")

    def decode(self, chunks: Sequence[Chunk], temperature: float = 0.0) -> list[Decoded]:
        """Unchecked decoding stays on the node."""
        raise EngineError("chunks are decoded on the nodes", where=self.name, next_step="Call transcribe")


@dataclass(slots=True)
class Batch:
    """A batch that an actor has in hand."""

    actor: Any
    parts: list[tuple[Take, int]]


class ClusterDecoding(Decoding):
    """Keeps all actors of a cluster busy with the worker's takes."""

    def __init__(self, settings: Settings, database: Database, owner: str, say: Callable[[str], None]) -> None:
        """Connect to the cluster that `settings.ray` names (`auto` or an address). Raises `SettingsError`."""
        super().__init__(settings, database, owner, say)
        try:
            import ray
        except ImportError as error:
            raise SettingsError("Ray is not installed", where="--ray", next_step="pip install 'earmark[cluster]'") from error
        environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        environment |= {name: value for name, value in os.environ.items() if name.startswith(("EARMARK_", "GLIBC_"))}
        try:
            ray.init(
                address=settings.ray,
                namespace="earmark",
                log_to_driver=False,
                ignore_reinit_error=True,
                runtime_env={"env_vars": environment},
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SettingsError(
                f"no Ray cluster answers ({error})", where=settings.ray, next_step="Start one: ray start --head"
            ) from error
        self._actors: dict[tuple[str, str], list[Any]] = {}
        self._batches: dict[Any, Batch] = {}
        self._deaths: Counter[tuple[int, int]] = Counter()
        self._looked_at = 0.0

    def has_room(self) -> bool:
        """Keep enough episodes at hand for every actor."""
        with self._lock:
            return len(self._takes) < 2 + IN_FLIGHT * max(1, sum(map(len, self._actors.values())))

    def step(self) -> bool:
        """Hand out batches, take in what is done; tell whether anything happened."""
        import ray

        with self._lock:
            takes = list(self._takes)
        for take in takes:
            if not take.pending:
                self._close(take, self._finish)
        self._grow(takes)
        handed = self._hand_out(takes)
        if not self._batches:
            return handed
        ready, _ = ray.wait(list(self._batches), num_returns=1, timeout=WAIT_S)
        for reference in ready:
            self._take_in(reference, self._batches.pop(reference))
        return True

    def close(self) -> None:
        """Let go of the actors; what is in flight is lost, what was committed stays."""
        import ray

        super().close()
        for actors in self._actors.values():
            for actor in actors:
                ray.kill(actor)
        ray.shutdown()

    # --- parts of a step ----------------------------------------------------------------------------------------------

    def _open(self, settings: Settings) -> Engine:
        key = (settings.engine, settings.model)
        return RemoteEngine(self._actors.setdefault(key, []), lambda: self._new_actor(settings))

    def _new_actor(self, settings: Settings) -> Any:
        import ray

        on_gpu = settings.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
        # On a GPU the batches in flight share an engine, as lanes do on one machine; a CPU core has an engine of its own.
        share = {"num_gpus": settings.ray_gpus, "max_concurrency": IN_FLIGHT} if on_gpu else {"num_cpus": 1}
        # No restarts and no retries by Ray: the driver sees the death and queues the batch again.
        holder = ray.remote(**share, max_restarts=0, max_task_retries=0)(EngineHolder)
        return holder.remote(settings if on_gpu else replace(settings, threads=1))

    def _grow(self, takes: Sequence[Take]) -> None:
        """Start actors on nodes that are free, one engine key after the other."""
        import ray

        if time.monotonic() - self._looked_at < LOOK_FOR_NODES_S and all(self._actors.values()):
            return
        self._looked_at = time.monotonic()
        free = ray.available_resources()
        for take in takes:
            settings, actors = take.settings, self._actors.setdefault(take.engine_key, [])
            on_gpu = settings.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
            room = int(free.get("GPU", 0) / settings.ray_gpus) if on_gpu else int(free.get("CPU", 0))
            wanted = settings.ray_actors - len(actors) if settings.ray_actors else max(room, 0 if actors else 1)
            for _ in range(max(0, wanted)):
                actors.append(self._new_actor(settings))
            if wanted > 0:
                self.say(f"{len(actors)} engines on the cluster")
            break

    def _hand_out(self, takes: Sequence[Take]) -> bool:
        flying = {(take.job.id, ordinal) for batch in self._batches.values() for take, ordinal in batch.parts}
        load = Counter(id(batch.actor) for batch in self._batches.values())
        handed = False
        for key, actors in self._actors.items():
            for actor in sorted(actors, key=lambda actor: load[id(actor)]):
                while load[id(actor)] < IN_FLIGHT:
                    parts = self._next_batch([take for take in takes if take.engine_key == key], flying)
                    if not parts:
                        break
                    chunks = [cut_chunk(take.spool, take.pending[ordinal], take.language or None) for take, ordinal in parts]
                    self._log("decode", parts)
                    self._batches[actor.transcribe.remote(chunks)] = Batch(actor, parts)
                    flying |= {(take.job.id, ordinal) for take, ordinal in parts}
                    load[id(actor)] += 1
                    handed = True
        return handed

    def _next_batch(self, takes: Sequence[Take], flying: set[tuple[int, int]]) -> list[tuple[Take, int]]:
        parts = self._choose(takes, flying)
        suspects = [part for part in parts if self._deaths[part[0].job.id, part[1]]]
        return suspects[:1] or parts  # one that was in hand when an actor died goes alone

    def _take_in(self, reference: Any, batch: Batch) -> None:
        import ray

        try:
            segments = _get(reference)
        except EngineError as error:
            if len(batch.parts) == 1:
                self._fail(batch.parts[0][0], error)
            for take, ordinal in batch.parts:  # one of them is the culprit: from now on each goes alone
                self._deaths[take.job.id, ordinal] += 1
            return
        except ray.exceptions.RayError as error:
            self._bury(batch, error)
            return
        self._commit([(take, ordinal, found) for (take, ordinal), found in zip(batch.parts, segments, strict=True)])

    def _bury(self, batch: Batch, error: Exception) -> None:
        for actors in self._actors.values():
            if batch.actor in actors:
                actors.remove(batch.actor)
                self.say("an engine on the cluster died; its batches are queued again")
                log.warning("actor died: %s", error)
        for take, ordinal in batch.parts:
            self._deaths[take.job.id, ordinal] += 1
            if len(batch.parts) == 1 and self._deaths[take.job.id, ordinal] >= MAX_DEATHS:
                self._fail(
                    take, EngineError("a chunk of it kills every engine", where=take.recording.path, next_step="Look at the file")
                )


def _get(reference: Any) -> Any:
    """Wait for an actor's answer; an error of ours comes out as itself."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, EarmarkError):
            raise cause from error
        raise EngineError(f"an engine on the cluster failed ({cause or error})", where="cluster") from error
