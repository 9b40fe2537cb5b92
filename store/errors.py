"""The one error tree. Every failure says what went wrong, where, and what to do next.

Comes in: nothing. Goes out: exceptions that doors print as one sentence and the worker stores with the job.
Does not know: who raises them.
"""

from __future__ import annotations


class EarmarkError(Exception):
    """A failure that a person can act on.

    `what` is one sentence without a full stop, `where` the thing it happened to (a path, a link, an episode), `next_step`
    what to do about it. `permanent` says that trying again will not help.
    """

    permanent = True

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        self.what = what
        self.where = where
        self.next_step = next_step
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """Return the whole error as one line."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.next_step}" if self.next_step else text


class SourceError(EarmarkError):
    """A link or path that cannot be listed or fetched, for good."""


class SourceBusy(SourceError):
    """A link that may answer later: a time-out, a 5xx, a 429 (then with `retry_after_s`)."""

    permanent = False

    def __init__(self, what: str, *, where: str = "", next_step: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.retry_after_s = retry_after_s


class BlockedAddress(SourceError):
    """A request that netguard refused: not a public address, or not an allowed scheme."""


class RecordingError(EarmarkError):
    """A file that holds no audio that can be decoded."""


class DiskFull(EarmarkError):
    """No space for a file. It is nobody's fault: the job waits, and this try does not count."""

    permanent = False
    retry_after_s = 60.0


class WeightsError(EarmarkError):
    """A model that cannot be found, whose hash is wrong, or that does not fit."""


class EngineError(EarmarkError):
    """An engine that failed on chunks that should have worked; another try may help."""

    permanent = False


class OutOfMemory(EngineError):
    """The device ran out of memory: the caller makes the batch smaller and tries again."""


class StoreError(EarmarkError):
    """The database cannot be opened, is newer than this program, or refuses a write."""


class LeaseLost(EarmarkError):
    """A worker wrote for a job that is no longer its own. Its work for that job is thrown away."""


class IndexUnavailable(EarmarkError):
    """There is no index yet, or every part of it failed its checksum."""


class IndexBusy(IndexUnavailable):
    """What finds windows does not answer now; trying again may help."""

    permanent = False


class SettingsError(EarmarkError):
    """A setting that does not exist or whose value does not fit."""
