"""Content-Encoding of bodies, in and out. Pure."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable

import lz4.frame
import zstandard

from deploy.local.clickhouse.refusal import Refusal

MAX_BODY = 256 * 2**20


# ---------------------------------------------------------------- content codings


def decoded(body: bytes, coding: str) -> bytes:
    """A body without its Content-Encoding. Frames that follow each other are joined.

    Raises:
        Refusal: the coding is unknown, the bytes are broken, or more than `MAX_BODY` come out.
    """
    if not coding or coding == "identity":
        return body
    if coding not in DECODERS:
        raise Refusal(
            "UNSUPPORTED_MEDIA_TYPE",
            f"Unknown Content-Encoding '{coding}': valid are {', '.join(DECODERS)}.",
        )
    try:
        plain = DECODERS[coding](io.BytesIO(body))
    except (OSError, EOFError, RuntimeError, zlib.error, zstandard.ZstdError) as error:
        raise Refusal("INCORRECT_DATA", f"Broken {coding} body: {error}.") from None
    if len(plain) > MAX_BODY:
        raise Refusal("QUERY_IS_TOO_LARGE", f"The body is larger than {MAX_BODY} bytes.")
    return plain


def _inflate(body: io.BytesIO) -> bytes:
    return zlib.decompressobj().decompress(body.read(), MAX_BODY + 1)


def _gunzip(body: io.BytesIO) -> bytes:
    with gzip.GzipFile(fileobj=body) as file:
        return file.read(MAX_BODY + 1)


def _unlz4(body: io.BytesIO) -> bytes:
    with lz4.frame.open(body) as file:
        plain: bytes = file.read(MAX_BODY + 1)
    return plain


def _unzstd(body: io.BytesIO) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as file:
        return file.read(MAX_BODY + 1)


DECODERS: dict[str, Callable[[io.BytesIO], bytes]] = {
    "gzip": _gunzip,
    "deflate": _inflate,
    "lz4": _unlz4,
    "zstd": _unzstd,
}


class Encoder:
    """A result's Content-Encoding, piece by piece."""

    def __init__(self, coding: str | None) -> None:
        self.coding = coding
        self._begin = b""
        self._more: Callable[[bytes], bytes] = bytes
        self._end: Callable[[], bytes] = bytes
        if coding == "lz4":
            frame = lz4.frame.LZ4FrameCompressor()
            self._begin = frame.begin()
            self._more, self._end = frame.compress, frame.flush
        elif coding == "zstd":
            stream = zstandard.ZstdCompressor(level=1).compressobj()
            self._more, self._end = stream.compress, stream.flush
        elif coding in ("gzip", "deflate"):
            deflate = zlib.compressobj(1, wbits=31 if coding == "gzip" else 15)
            self._more, self._end = deflate.compress, deflate.flush

    def more(self, piece: bytes) -> bytes:
        begin, self._begin = self._begin, b""
        return begin + self._more(piece)

    def end(self) -> bytes:
        begin, self._begin = self._begin, b""
        return begin + self._end()


def coding_for(accept: str) -> str | None:
    """The first coding of an Accept-Encoding that we can write, None for none."""
    for offer in accept.split(","):
        name = offer.partition(";")[0].strip().lower()
        if name in DECODERS:
            return name
    return None
