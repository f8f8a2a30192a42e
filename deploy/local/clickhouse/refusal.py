"""How ClickHouse words its refusals. Pure.

The map from error to status follows its `exceptionCodeToHTTPStatus`.
"""

from __future__ import annotations

import re

STATUS = {
    401: "REQUIRED_PASSWORD",
    403: "UNKNOWN_USER WRONG_PASSWORD AUTHENTICATION_FAILED SET_NON_GRANTED_ROLE ACCESS_DENIED",
    400: "BAD_ARGUMENTS CANNOT_COMPILE_REGEXP CANNOT_PARSE_TEXT CANNOT_PARSE_ESCAPE_SEQUENCE "
    "CANNOT_PARSE_QUOTED_STRING CANNOT_PARSE_DATE CANNOT_PARSE_DATETIME CANNOT_PARSE_NUMBER "
    "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING CANNOT_PARSE_IPV4 CANNOT_PARSE_IPV6 CANNOT_PARSE_UUID "
    "CANNOT_PARSE_INPUT_ASSERTION_FAILED DUPLICATE_COLUMN ILLEGAL_COLUMN THERE_IS_NO_COLUMN "
    "UNKNOWN_ELEMENT_IN_AST UNKNOWN_TYPE_OF_AST_NODE TOO_DEEP_AST TOO_BIG_AST "
    "UNEXPECTED_AST_STRUCTURE SYNTAX_ERROR INCORRECT_DATA TYPE_MISMATCH "
    "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    404: "UNKNOWN_TABLE UNKNOWN_FUNCTION UNKNOWN_IDENTIFIER UNKNOWN_TYPE UNKNOWN_STORAGE "
    "UNKNOWN_DATABASE UNKNOWN_SETTING UNKNOWN_DIRECTION_OF_SORTING UNKNOWN_AGGREGATE_FUNCTION "
    "UNKNOWN_FORMAT UNKNOWN_DATABASE_ENGINE UNKNOWN_TYPE_OF_QUERY UNKNOWN_ROLE",
    408: "TIMEOUT_EXCEEDED",
    411: "HTTP_LENGTH_REQUIRED",
    413: "QUERY_IS_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    501: "NOT_IMPLEMENTED",
    503: "SOCKET_TIMEOUT CANNOT_OPEN_FILE CANNOT_SCHEDULE_TASK",
}
STATUS_OF = {name: status for status, names in STATUS.items() for name in names.split()}
CODE_OF = {
    "BAD_ARGUMENTS": 36,
    "NOT_IMPLEMENTED": 48,
    "SYNTAX_ERROR": 62,
    "READONLY": 164,
    "QUERY_IS_TOO_LARGE": 223,
    "SESSION_NOT_FOUND": 372,
    "SESSION_IS_LOCKED": 373,
    "INVALID_SESSION_TIMEOUT": 374,
    "INCORRECT_DATA": 117,
    "AUTHENTICATION_FAILED": 516,
    "UNSUPPORTED_MEDIA_TYPE": 758,
}

_ERROR = re.compile(r"Code: (\d+)\. DB::Exception: ")
_VERSION = re.compile(r" \(version [^)]*\)")
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)\s*$")


class Refusal(Exception):
    """ClickHouse's answer "no". `code` and `name` are ClickHouse's own."""

    def __init__(self, name: str, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.code = CODE_OF[name] if code is None else code

    @property
    def status(self) -> int:
        return STATUS_OF.get(self.name, 500)

    @classmethod
    def of(cls, error: Exception) -> Refusal:
        """The engine's error text, taken apart."""
        text = str(error)
        at = _ERROR.search(text)
        if at is None:
            return cls("STD_EXCEPTION", f"{text}. (STD_EXCEPTION)", 1001)
        message = _VERSION.sub("", text[at.end() :]).strip()
        name = _NAME.search(message)
        return cls(name.group(1) if name else "UNKNOWN_EXCEPTION", message, int(at.group(1)))

    def body(self, version: str) -> str:
        """The line that ClickHouse sends as the body of a failed request."""
        named = self.message if self.name in self.message else f"{self.message} ({self.name})"
        return f"Code: {self.code}. DB::Exception: {named} (version {version} (official build))\n"
