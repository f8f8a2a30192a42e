"""Persons in stored rows: by a keyed hash, so that who has the key finds a person's rows and nobody
else can tell whose they are, not even by trying ids.
"""

from __future__ import annotations

import hmac
from functools import lru_cache

import pyarrow as pa

HEX_DIGITS = 32
SHORT = 4


@lru_cache(maxsize=100_000)
def subject_hash(key: bytes, subject: str) -> str:
    """32 hex digits: the first half of HMAC-SHA256 (RFC 2104) of the id under the key."""
    return hmac_of(key, subject)[:HEX_DIGITS]


def short_hash(key: bytes, value: str) -> str:
    """4 hex digits of the same, of any value: they tell it from another one in the same text, and
    too many values share them to tell whose it is."""
    return hmac_of(key, value)[:SHORT]


def hmac_of(key: bytes, value: str) -> str:
    hashed = keyed(key).copy()
    hashed.update(value.encode())
    return hashed.hexdigest()


@lru_cache(maxsize=8)
def keyed(key: bytes) -> hmac.HMAC:
    """To be copied. `hmac.digest` hashes the key anew each time, and lets other threads take the
    interpreter: beside a busy one an id takes it a millisecond."""
    return hmac.new(key, digestmod="sha256")


def subject_hashes(key: bytes, subjects: pa.Array | pa.ChunkedArray) -> pa.Array:
    """`subject_hash` of each of these strings; null stays null. Hashes each id once."""
    if isinstance(subjects, pa.ChunkedArray):
        subjects = subjects.combine_chunks()
    encoded = subjects.dictionary_encode()
    hashes = [subject_hash(key, subject) for subject in encoded.dictionary.to_pylist()]
    return pa.array(hashes, subjects.type).take(encoded.indices)
