"""Bodies that are forms: text fields, and tables that live for one query. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from deploy.local.clickhouse.refusal import Refusal

FORM = "multipart/form-data"
EXTERNAL_PARTS = ("structure", "types", "format")


@dataclass(frozen=True, slots=True)
class ExternalTable:
    """A table that lives for one query. `columns` is the list between a CREATE TABLE's brackets."""

    name: str
    columns: str
    format: str
    data: bytes


def multipart(content_type: str, body: bytes) -> tuple[dict[str, str], dict[str, bytes]]:
    """Text fields and files of a form (RFC 7578). A part with a file name is a file.

    Raises:
        Refusal: the body is no such form, or ends before its last part does.
    """
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    ends: list[bool] = []

    def on_field(field: Field) -> None:
        fields[text(field.field_name)] = text(field.value)

    def on_file(file: File) -> None:
        file.file_object.seek(0)
        files[text(file.field_name)] = file.file_object.read()

    try:
        parser = FormParser(
            FORM,
            on_field,
            on_file,
            on_end=lambda: ends.append(True),
            boundary=parse_options_header(content_type)[1].get(b"boundary"),
            config={"MAX_MEMORY_FILE_SIZE": len(body)},  # it is in memory already
        )
        parser.write(body)
    except (FormParserError, UnicodeDecodeError) as error:
        raise Refusal("BAD_ARGUMENTS", f"Broken {FORM} body: {error}.") from None
    if not ends:
        raise Refusal("BAD_ARGUMENTS", f"Broken {FORM} body: it ends within a part.")
    return fields, files


def text(value: bytes | None) -> str:
    return (value or b"").decode()


def external(name: str, form: Mapping[str, str], data: bytes) -> ExternalTable:
    """A query's external table: NAME_structure, or NAME_types for columns called _1, _2, …"""
    columns = form.get(f"{name}_structure")
    if columns is None:
        types = form.get(f"{name}_types")
        if types is None:
            raise Refusal(
                "BAD_ARGUMENTS", f"Neither {name}_structure nor {name}_types tells its columns."
            )
        columns = ", ".join(f"_{i} {t}" for i, t in enumerate(types.split(","), start=1))
    return ExternalTable(name, columns, form.get(f"{name}_format", "TabSeparated"), data)
