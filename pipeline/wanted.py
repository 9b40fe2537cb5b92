"""Which episodes of a listing somebody wants: the newest few, those since a day, those with a word in the title.

Comes in: the flags of `earmark add`. Goes out: a listing with the rest left out.
Does not know: where a listing comes from; it only says when reading further can bring nothing more.
"""

from __future__ import annotations

import re
from dataclasses import replace

from store.errors import SourceError
from store.records import EpisodeListing, ShowListing


class Wanted:
    """Which episodes of a listing are wanted."""

    def __init__(self, limit: int | None = None, since: str | None = None, match: str | None = None) -> None:
        if since and not re.fullmatch(r"\d{4}-\d\d-\d\d", since):
            raise SourceError(f"{since!r} is no date", where="--since", next_step="Write it as YYYY-MM-DD")
        if limit is not None and limit < 1:
            raise SourceError(f"{limit} is too few", where="--limit", next_step="Give 1 or more")
        self.limit = limit
        self.since = since or ""
        self._pattern = _pattern(match) if match else None

    @property
    def is_bare_limit(self) -> bool:
        """Tell whether only the number of episodes is limited."""
        return self.limit is not None and not self.since and self._pattern is None

    def takes(self, episode: EpisodeListing) -> bool:
        """Tell whether one episode fits date and title. An episode without a date is taken: nobody knows that it is older."""
        if self.since and episode.published and episode.published[:10] < self.since:
            return False
        return self._pattern is None or bool(self._pattern.search(episode.title))

    def enough(self, episodes: list[EpisodeListing]) -> bool:
        """Tell whether a listing that goes from new to old need not be read further."""
        dates = [episode.published for episode in episodes if episode.published]
        if self.since and dates and dates[-1][:10] < self.since and dates == sorted(dates, reverse=True):
            return True
        return self.limit is not None and sum(map(self.takes, episodes)) >= self.limit and dates == sorted(dates, reverse=True)

    def of(self, listing: ShowListing) -> ShowListing:
        """Return the listing with what is wanted."""
        if listing.unchanged:
            return listing
        taken = [episode for episode in listing.episodes if self.takes(episode)]
        warnings = listing.warnings
        undated = sum(not episode.published for episode in taken)
        if self.since and undated:
            warnings = (*warnings, f"{undated} episodes carry no date and were taken although --since was given")
        if self.limit is not None and len(taken) > self.limit:
            newest = sorted(taken, key=lambda episode: episode.published, reverse=True)[: self.limit]
            kept = {episode.guid for episode in newest}
            taken = [episode for episode in taken if episode.guid in kept]
        return replace(listing, episodes=tuple(taken), warnings=warnings)


def _pattern(match: str) -> re.Pattern[str]:
    try:
        return re.compile(match, re.IGNORECASE)
    except re.error:  # "C++" is a fine thing to look for
        return re.compile(re.escape(match), re.IGNORECASE)
