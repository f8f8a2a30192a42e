"""What the services of a local stack say of themselves on /healthz."""

from __future__ import annotations

import json
from http.client import HTTPException
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import urlopen

TIMEOUT_SECONDS = 2.0


def body(url: str) -> dict[str, Any]:
    """What a service answers, healthy or not; empty when it does not answer."""
    try:
        with opened(url) as reply:
            return dict(json.load(reply))
    except (OSError, HTTPException, ValueError):
        return {}


def opened(url: str) -> IO[bytes]:
    """The reply, also where its status is an error: it says why in its body."""
    try:
        reply: IO[bytes] = urlopen(url, timeout=TIMEOUT_SECONDS)  # noqa: S310 - our own services
        return reply
    except HTTPError as error:
        return error
