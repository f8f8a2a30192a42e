"""Which files a path stands for, and their bytes. What a file is, its first bytes say, not its
name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from driftgate.errors import BadConfig

READ = (
    "CSV, TSV, JSON Lines, JSON, Parquet, Arrow, XLSX, XLS, ODS, or a folder or zip of such files"
)
SUFFIXES = {
    *(".csv", ".tsv", ".tab", ".psv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq", ".arrow"),
    *(".feather", ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".txt", ".manifest", ".ft"),
    *(".gz", ".bz2", ".xz", ".zst", ".zip"),
}
# Written beside data by the libraries that export it; never rows.
SIDE_FILES = {
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
    "croissant.json",
    "card.json",
    "config.json",
}
REFUSED = {
    b"%PDF-": "a PDF: copy its table into a CSV or XLSX file",
    b"SQLite format 3\0": "an SQLite database: export the table as CSV",
    b"\x80\x04": "a pickle, which is never read, since it can run code: save it as Parquet or CSV",
    b"\x80\x05": "a pickle, which is never read, since it can run code: save it as Parquet or CSV",
    b"\x80\x03": "a pickle, which is never read, since it can run code: save it as Parquet or CSV",
    b"\x89HDF": "HDF5: save it as Parquet or CSV",
    b"\x93NUMPY": "a NumPy array: save it as Parquet or CSV",
    b"{\\rtf": "a rich text document: save it as plain CSV",
    b"version https://git-lfs": "a Git LFS pointer, not the file: fetch it by `git lfs pull`",
    b"7z\xbc\xaf": "a 7z archive: unpack it and give the file inside",
    b"Rar!\x1a\x07": "a RAR archive: unpack it and give the file inside",
    b"Obj\x01": "Avro: save it as Parquet or JSON Lines",
}
# Beginnings that a text may have too: refused where control characters follow.
REFUSED_IF_BINARY = {b"ORC": "ORC: save it as Parquet or CSV"}
# Refused where the file also ends in a tag; a row of a table ends in its last cell.
REFUSED_IF_MARKUP = {
    b"<?xml": "XML: export it as CSV or JSON",
    b"<!doc": "a web page: export the data as CSV or XLSX",
    b"<html": "a web page: export the data as CSV or XLSX",
    b"<table": "a web page that is named like a spreadsheet: open it and save it as XLSX or CSV",
}
# Zip files that are one document, by a file inside.
REFUSED_DOCUMENTS = {
    "word/document.xml": "a Word document: copy its table into a CSV or XLSX file",
    "ppt/presentation.xml": "a PowerPoint document: copy its table into a CSV or XLSX file",
    "Index/Document.iwa": "a document of Apple's Numbers or Pages: export it as CSV or XLSX",
    "Index.zip": "a document of Apple's Numbers or Pages: export it as CSV or XLSX",
}
CONTROL = bytes({*range(9), *range(14, 32)} - {27})  # not blanks, nor what ISO-2022 shifts by
MOST_BYTES = 4 * 2**30
BZIP2 = (b"1AY&SY", b"\x17rE8P\x90")  # a first block, and the end of an empty file
OPENED: dict[bytes, Callable[[io.BytesIO], Any]] = {
    b"\x1f\x8b": lambda data: gzip.GzipFile(fileobj=data),
    **{b"BZh%d%s" % (n, magic): bz2.BZ2File for n in range(1, 10) for magic in BZIP2},
    b"\xfd7zXZ": lzma.LZMAFile,
}
DAMAGED = (
    *(OSError, EOFError, ValueError, NotImplementedError, zlib.error, lzma.LZMAError),
    *(zstandard.ZstdError, zipfile.BadZipFile),
)


@dataclass(frozen=True, slots=True)
class Content:
    """A file's bytes, unpacked. name: for messages; parent: the folder's name, for texts that are
    sorted into folders; fault: why there are no bytes, beside other files."""

    name: str
    parent: str
    data: bytes
    fault: str = ""

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix.lower()


def contents(path: Path) -> tuple[list[Content], list[str]]:
    """The files of a path with their bytes, and the names of files beside them that are not data.

    Raises:
        BadConfig: there is nothing to read; says why and what can be read.
    """
    try:
        if not path.exists():
            raise BadConfig(f"{path}: there is no such file or folder; {READ} can be read")
        if not path.is_file() and not path.is_dir():
            raise BadConfig(f"{path}: is neither a file nor a folder; save its content in a file")
        if path.is_file():
            return list(unpacked(path.name, path.parent.name, path.read_bytes())), []
        found: list[Content] = []
        others: list[str] = []
        for file in sorted(path.rglob("*")):
            relative = file.relative_to(path)
            if not file.is_file() or any(part.startswith((".", "__")) for part in relative.parts):
                continue
            if is_data(relative.name):
                found += one_of_many(str(relative), file.parent.name, file.read_bytes())
            else:
                others.append(str(relative))
    except OSError as error:
        raise BadConfig(
            f"{path}: cannot be read: {error.strerror or error}; check its permissions"
        ) from error
    if not found:
        raise BadConfig(f"{path}: no file in this folder can be read; expected {READ}")
    return found, others


def is_data(name: str) -> bool:
    """Whether a file in a folder is taken, by its name."""
    return Path(name).suffix.lower() in SUFFIXES and Path(name).name.lower() not in SIDE_FILES


def one_of_many(name: str, parent: str, data: bytes) -> Iterator[Content]:
    """A file beside others, which can be read without it."""
    try:
        yield from unpacked(name, parent, data)
    except BadConfig as error:
        yield Content(name, parent, b"", str(error))


def unpacked(name: str, parent: str, data: bytes) -> Iterator[Content]:
    """A file, or the files of an archive.

    Raises:
        BadConfig: it is of a kind that is not read.
    """
    what = refused_kind(data)
    if what:
        raise BadConfig(f"{name}: this is {what}. {READ} can be read")
    if data[257:262] == b"ustar" and is_binary(data):
        raise BadConfig(f"{name}: this is a tar archive: unpack it and give the folder")
    try:
        inner = decompressed(data)
        document = refused_document(data)
        if document:
            raise BadConfig(f"{name}: this is {document}. {READ} can be read")
        if inner is not None:
            yield from unpacked(str(Path(name).with_suffix("")), parent, inner)
        elif is_archive(data):
            yield from members(name, data)
        else:
            yield Content(name, parent, data)
    except DAMAGED as error:
        raise BadConfig(f"{name}: the archive is damaged: {error}; fetch it again") from error


def refused_kind(data: bytes) -> str | None:
    """What a file is that is not read, and what to do; None for others."""
    begin = data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n")
    kinds = dict(REFUSED)
    if is_binary(begin):
        kinds |= REFUSED_IF_BINARY
    if data[-1000:].rstrip(b" \t\r\n\0").endswith(b">"):
        begin, kinds = begin[:5].lower() + begin[5:], kinds | REFUSED_IF_MARKUP
    return next((what for magic, what in kinds.items() if begin.startswith(magic)), None)


def is_binary(data: bytes) -> bool:
    """Whether control characters stand at its beginning."""
    begin = data[:1000]
    return len(begin.translate(None, CONTROL)) < len(begin)


def decompressed(data: bytes) -> bytes | None:
    """What one compressed stream holds; None where it is none."""
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return of_zstd(data)
    for magic, opened in OPENED.items():
        if data.startswith(magic):
            with opened(io.BytesIO(data)) as stream:
                return limited(stream.read(MOST_BYTES + 1))
    return None


def of_zstd(data: bytes) -> bytes:
    """All frames; a reader of streams says nothing of a last one that is cut off."""
    found = b""
    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        found = limited(found + frame.decompress(data))
        if not frame.eof:
            raise EOFError("it is cut off")
        data = frame.unused_data
    return found


def limited(data: bytes) -> bytes:
    if len(data) > MOST_BYTES:
        raise ValueError("unpacked it has more than 4 GiB")
    return data


def refused_document(data: bytes) -> str | None:
    """What a zip file is that is one document, and what to do; None for others."""
    if not data.startswith(b"PK\x03\x04"):
        return None
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = set(archive.namelist())
    return next((what for part, what in REFUSED_DOCUMENTS.items() if part in names), None)


def is_archive(data: bytes) -> bool:
    """Whether it is a zip of files, not a spreadsheet."""
    if not data.startswith(b"PK\x03\x04"):
        return False
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return not {"[Content_Types].xml", "mimetype"} & set(archive.namelist())


def members(name: str, data: bytes) -> Iterator[Content]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [
            entry
            for entry in archive.infolist()
            if not entry.is_dir()
            and is_data(entry.filename)
            and not any(part.startswith((".", "__")) for part in Path(entry.filename).parts)
        ]
        if not entries:
            raise BadConfig(f"{name}: no file in this zip can be read; expected {READ}")
        if any(entry.flag_bits & 1 for entry in entries):
            raise BadConfig(f"{name}: the zip has a password: unpack it and give the file inside")
        if sum(entry.file_size for entry in entries) > MOST_BYTES:
            raise BadConfig(f"{name}: unpacked it has more than 4 GiB: give a part of it")
        for entry in entries:
            parent = Path(entry.filename).parent.name
            yield from one_of_many(entry.filename, parent, archive.read(entry))
