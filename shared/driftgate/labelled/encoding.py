"""Bytes as text. UTF-8 unless the bytes say otherwise; a guess is told and can be overruled."""

from __future__ import annotations

import codecs
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import chardet

from driftgate.errors import BadConfig, nearest

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
SAMPLE, SAMPLE_LINES = 200_000, 5_000  # bytes of lines that are not ASCII
# Text of another encoding is hardly ever UTF-8 by chance. Where so many of the lines that are not
# ASCII are, the others are broken lines.
UTF8_SHARE = 0.5
# A zero byte may stand in a text; UTF-16 has them in every second place.
MOST_NULS = 0.05
WESTERN = "cp1252"
SIGNS = set("“”‘’–—…€£©®™°·•«»¡¿\xa0".encode(WESTERN))
FEW = 5  # bytes
ISO_2022 = b"\x1b$"
# What offices and web sites write. With every encoding that there is, short texts are often taken
# for one that nobody uses.
LIKELY = [
    *("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "cp1250", "cp1251", "cp1252", "cp1253"),
    *("cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874", "iso8859-2", "koi8-r", "koi8-u"),
    *("cp866", "cp932", "euc-jp", "iso-2022-jp", "gb18030", "big5", "cp949", "euc-kr", "mac-roman"),
]
COMMON = ["utf-8", "cp1252", "latin-1", "cp1250", "cp1251", "cp932", "gb18030", "big5", "utf-16"]


def surrogates(error: UnicodeError) -> tuple[str, int]:
    """A lone surrogate for each byte that cannot be decoded. `surrogateescape` gives up at bytes
    below 128, which broken UTF-16 and Asian encodings have."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff" * (error.end - error.start), error.end


BROKEN = "driftgate.surrogates"
codecs.register_error(BROKEN, surrogates)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text. guess: the encoding, where it was guessed; words: some that show the guess."""

    text: str
    guess: str = ""
    words: str = ""


def decode(data: bytes, name: str, asked: str | None) -> Decoded:
    """The text and how it was decoded. Bytes that cannot be decoded become lone surrogates, so that
    the rows they stand in are found and left out.

    Raises:
        BadConfig: the encoding asked for does not exist, or the bytes are no text.
    """
    if asked:
        return Decoded(data.decode(known(asked), BROKEN).removeprefix("\ufeff"))
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            return Decoded(data.decode(encoding, BROKEN))
    try:
        begin = data[:SAMPLE]
        if begin.count(0) <= MOST_NULS * len(begin) and ISO_2022 not in begin:
            return Decoded(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    return guessed(data, name)


def known(encoding: str) -> str:
    try:
        b"text".decode(encoding, BROKEN)  # also `base64` is a codec, but gives no text
        return codecs.lookup(encoding).name
    except (LookupError, ValueError):
        raise BadConfig(
            f"--encoding {encoding}: no such encoding; {nearest(encoding, COMMON)}"
        ) from None


def guessed(data: bytes, name: str) -> Decoded:
    """Text that is not UTF-8, by the letters and languages that occur in it."""
    whole = Counter(map(is_utf8, odd_lines(data)))
    if whole[False] and whole[True] >= UTF8_SHARE * whole.total():
        return Decoded(data.decode("utf-8", BROKEN))
    begin = data[:SAMPLE]
    if b"\0" in begin or ISO_2022 in begin:
        sample, encoding = begin, likely(begin)
    else:
        sample = b"".join(islice(odd_lines(data), SAMPLE_LINES))[:SAMPLE]
        encoding = WESTERN if tells_little(sample) else likely(sample)
    if encoding is None or (b"\0" in sample and "16" not in encoding and "32" not in encoding):
        raise BadConfig(
            f"{name}: this is neither text nor a kind of file that can be read; save it as CSV "
            "(UTF-8), or say its --encoding"
        )
    text = data.decode(encoding, BROKEN)
    words = sample.decode(encoding, BROKEN).split()
    letters = [word for word in words if not word.isascii() and word.isprintable()][:5]
    return Decoded(text, encoding, " ".join(dict.fromkeys(letters))[:60])


def likely(sample: bytes) -> str | None:
    return chardet.detect(sample, include_encodings=LIKELY)["encoding"]


def odd_lines(data: bytes) -> Iterator[bytes]:
    """Lines that are not ASCII."""
    return (line for line in io.BytesIO(data) if not line.isascii())


def tells_little(sample: bytes) -> bool:
    """Whether a text has hardly a letter beyond ASCII: of quotes, dashes and currencies, and of
    one é, a guesser names a language that has other letters in their place."""
    beyond = sample.translate(None, bytes(range(128)))
    if not beyond or "\ufffd" in beyond.decode(WESTERN, "replace"):
        return False
    return len(beyond) < FEW or set(beyond) <= SIGNS


def is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
