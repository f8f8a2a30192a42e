"""Bytes as text. UTF-8 unless the bytes say otherwise; a guess is told and can be overruled."""

from __future__ import annotations

import codecs

import chardet

from driftgate.errors import BadConfig, nearest

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
SAMPLE = 200_000  # bytes of lines that are not ASCII
# So few broken lines among those that are not ASCII are broken lines, not another encoding.
BROKEN_SHARE = 0.1
# A zero byte may stand in a text; UTF-16 has them in every second place.
MOST_NULS = 0.05
COMMON = ["utf-8", "cp1252", "latin-1", "cp1250", "cp1251", "cp932", "gb18030", "big5", "utf-16"]


def surrogates(error: UnicodeError) -> tuple[str, int]:
    """A lone surrogate for each byte that cannot be decoded. `surrogateescape` gives up at bytes
    below 128, which broken UTF-16 and Asian encodings have."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff" * (error.end - error.start), error.end


BROKEN = "driftgate.surrogates"
codecs.register_error(BROKEN, surrogates)


def decode(data: bytes, name: str, asked: str | None) -> tuple[str, list[str]]:
    """The text and what to tell about it. Bytes that cannot be decoded become lone surrogates, so
    that the rows they stand in are found and left out.

    Raises:
        BadConfig: the encoding asked for does not exist, or the bytes are no text.
    """
    if asked:
        return data.decode(known(asked), BROKEN).removeprefix("\ufeff"), []
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            return data.decode(encoding, BROKEN), []
    try:
        if data[:SAMPLE].count(0) <= MOST_NULS * len(data[:SAMPLE]):
            return data.decode("utf-8"), []
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


def guessed(data: bytes, name: str) -> tuple[str, list[str]]:
    """Text that is not UTF-8, by the letters and languages that occur in it."""
    lines = [line for line in data.split(b"\n") if not line.isascii()]
    broken = sum(not is_utf8(line) for line in lines)
    if lines and broken < BROKEN_SHARE * len(lines):
        return data.decode("utf-8", BROKEN), []
    sample = data[:SAMPLE] if b"\0" in data[:SAMPLE] else b"\n".join(lines)[:SAMPLE]
    encoding = chardet.detect(sample)["encoding"]
    if encoding is None or (b"\0" in sample and "16" not in encoding and "32" not in encoding):
        raise BadConfig(
            f"{name}: this is neither text nor a kind of file that can be read; save it as CSV "
            "(UTF-8), or say its --encoding"
        )
    text = data.decode(encoding, BROKEN)
    letters = [word for word in text.split() if not word.isascii()][:5]
    shown = " ".join(dict.fromkeys(letters))[:60]
    return text, [f"read as {encoding}, by its letters ({shown}); --encoding says otherwise"]


def is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
