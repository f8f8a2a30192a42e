"""Who may use the HTTP door. Pure.

Without tokens the door is open to this machine alone: it listens on loopback, takes no request
whose `Host` is another one's (a page whose name was pointed at 127.0.0.1, DNS rebinding), and none
that a page of an origin sends that is not allowed. With tokens each request has one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple

from driftgate.config import PREFIX
from driftgate.errors import BadConfig, shown
from services.router.http_refusals import Refusal

ADDRESS, TOKENS, ORIGINS = (
    f"{PREFIX}HTTP_DOOR",
    f"{PREFIX}HTTP_DOOR_TOKENS",
    f"{PREFIX}HTTP_DOOR_ORIGINS",
)
ANY_ORIGIN = "*"
# RFC 6750 allows these characters; a shorter token can be found by trying.
TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,}")
# Of an IPv6 address in brackets, or of a name, with or without a port.
HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+))(?::\d+)?")


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class Access:
    """
    Attributes:
        tokens: SHA-256 of each, so that comparing takes the same time whatever was sent.
        origins: of pages whose requests are taken.
    """

    tokens: tuple[bytes, ...] = field(default=(), repr=False)
    origins: tuple[str, ...] = ()

    def refusal(self, headers: Mapping[str, str]) -> Refusal | None:
        """Why a request is refused; None: it is not."""
        origin = headers.get("origin")
        if origin is not None and not {origin, ANY_ORIGIN} & {*self.origins}:
            wanted = f"an origin that {ORIGINS} allows"
            return Refusal(403, f"origin: got {shown(origin)}, expected {wanted}", "bad_origin")
        if self.tokens:
            return None if self.knows(headers.get("authorization", "")) else NO_TOKEN
        host = HOST.fullmatch(headers.get("host", ""))
        if host is None or not is_loopback(host[1] or host[2]):
            wanted = f"localhost, or a token: set {TOKENS}"
            got = shown(headers.get("host"))
            return Refusal(403, f"host: got {got}, expected {wanted}", "bad_host")
        return None

    def knows(self, authorization: str) -> bool:
        kind, _, token = authorization.partition(" ")
        asked = hashed(token.strip())
        known = [hmac.compare_digest(asked, one) for one in self.tokens]
        return kind.lower() == "bearer" and any(known)


NO_TOKEN = Refusal(
    401,
    "authorization: expected `Bearer TOKEN` with a token of this router",
    "invalid_api_key",
    headers={"www-authenticate": "Bearer"},
)


def access(address: Address, tokens: str, origins: str) -> Access:
    """
    Args:
        tokens: with white space or commas between them. origins: with commas.

    Raises:
        BadConfig: names the variable, and what to set; never shows a token.
    """
    told = [token for token in re.split(r"[\s,]+", tokens) if token]
    for number, token in enumerate(told, 1):
        if not TOKEN.fullmatch(token):
            raise BadConfig(
                f"{TOKENS}: token {number} of {len(told)} has {len(token)} characters, expected at "
                "least 16 letters, digits and ._~+/=-, such as `openssl rand -hex 32` gives"
            )
    if not told and not address.is_loopback:
        raise BadConfig(
            f"{ADDRESS}: {address.host} is beyond this machine, where who asks needs a token: set "
            f"{TOKENS} (several with commas between them, or @FILE), or listen on 127.0.0.1"
        )
    allowed = [origin.strip() for origin in origins.split(",") if origin.strip()]
    for origin in allowed:
        check_origin(origin, bool(told))
    return Access(tuple(map(hashed, told)), tuple(allowed))


def check_origin(origin: str, with_tokens: bool) -> None:
    """Raises: BadConfig."""
    if origin == ANY_ORIGIN:
        if not with_tokens:
            raise BadConfig(f"{ORIGINS}: got '*', expected origins by name, or {TOKENS} beside it")
    elif not re.fullmatch(r"https?://[^/?#\s]+", origin):
        wanted = "such as https://desk.example.com, without a path"
        raise BadConfig(f"{ORIGINS}: got {origin!r}, expected origins {wanted}")


def address_of(text: str) -> Address:
    """Of host:port; an IPv6 address stands in brackets.

    Raises:
        BadConfig
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) >= 2**16:
        wanted = "host:port such as 127.0.0.1:8088, or nothing for no HTTP"
        raise BadConfig(f"{ADDRESS}: got {text!r}, expected {wanted}")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by any name that nobody else can point elsewhere."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
