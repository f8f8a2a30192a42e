"""Whether a part of the stack answers, each asked in its own protocol."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

HOST = "127.0.0.1"
TIMEOUT_S = 2.0
API_VERSIONS = 18


def kafka(port: int) -> str:
    """'' if a broker answers ApiVersions (version 0, no client id), else what is wrong."""
    request = struct.pack(">hhih", API_VERSIONS, 0, 1, -1)
    try:
        with socket.create_connection((HOST, port), TIMEOUT_S) as wire:
            wire.sendall(struct.pack(">i", len(request)) + request)
            head = wire.makefile("rb").read(10)
    except OSError as error:
        return str(error)
    if len(head) < 10:
        return "the connection was closed"
    code = struct.unpack(">iih", head)[2]
    return f"ApiVersions answered error {code}" if code else ""


def http(port: int, path: str) -> str:
    """'' if the path answers 200, else the status and what was said."""
    try:
        with urlopen(f"http://{HOST}:{port}{path}", timeout=TIMEOUT_S):
            return ""
    except HTTPError as error:
        return f"{error.code} {error.read().decode(errors='replace').strip()}"
    except OSError as error:
        return str(getattr(error, "reason", error))


def ray(port: int, folder: Path) -> str:
    """'' if the head's GCS listens and its raylet has opened its socket."""
    try:
        socket.create_connection((HOST, port), TIMEOUT_S).close()
    except OSError as error:
        return str(error)
    return "" if (folder / "session_latest/sockets/raylet").exists() else "no raylet yet"
