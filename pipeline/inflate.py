"""Takes the compression off an answer, a bounded piece at a time.

Comes in: blocks as a server sent them, and its Content-Encoding. Goes out: pieces of at most `PIECE_BYTES`, so that whoever
counts them can stop before a small answer has unfolded into a large memory (a "gzip bomb").
Does not know: where the limit is.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from store.errors import SourceBusy, SourceError

PIECE_BYTES = 1 << 18
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


class Inflater:
    """Decodes gzip and deflate; passes what is not compressed through."""

    def __init__(self, encoding: str, where: str) -> None:
        names = [name.strip().lower() for name in encoding.split(",") if name.strip().lower() not in ("", "identity")]
        self._where = where
        self._fed = False
        self._may_be_raw = names == ["deflate"]
        self._open = zlib.decompressobj(wbits=_GZIP_OR_ZLIB) if names in (["gzip"], ["x-gzip"], ["deflate"]) else None
        if names and self._open is None:
            what = f"the server compressed its answer in a way that was not asked for ({', '.join(names)[:40]})"
            raise SourceError(what, where=where, next_step="Tell its owner")

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Yield what `block` decodes to. Raises `SourceError` when it is not what its encoding says."""
        if self._open is None:
            if block:
                yield block
            return
        try:
            while block:
                piece = self._piece(block)
                if piece:
                    yield piece
                if not self._open.eof:
                    block = self._open.unconsumed_tail
                elif self._open.unused_data.startswith(b"\x1f\x8b"):  # gzip files may follow one another
                    block = self._open.unused_data
                    self._open = zlib.decompressobj(wbits=_GZIP_OR_ZLIB)
                else:  # padding
                    return
        except zlib.error as error:
            raise SourceError("its compressed answer cannot be read", where=self._where, next_step="Try again later") from error

    def close(self) -> None:
        """Raise `SourceBusy` if the compressed answer ended early."""
        if self._open is not None and self._fed and not self._open.eof:
            raise SourceBusy("the compressed answer broke off before the end", where=self._where, next_step="Try again")

    def _piece(self, block: bytes) -> bytes:
        assert self._open is not None
        first, self._fed = not self._fed, True
        try:
            return self._open.decompress(block, PIECE_BYTES)
        except zlib.error:
            if not (first and self._may_be_raw):
                raise
            self._open = zlib.decompressobj(wbits=-zlib.MAX_WBITS)  # "deflate" without its zlib header: old servers do so
            return self._open.decompress(block, PIECE_BYTES)
