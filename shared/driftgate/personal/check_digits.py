"""Card numbers and IBANs by their check digits. Pure.

Sources: ISO/IEC 7812 (Luhn, issuer ranges), ISO 13616 (IBAN, mod 97) and its register of lengths.
"""

from __future__ import annotations

import re
from functools import cache

from stdnum import luhn, numdb
from stdnum.iso7064 import mod_97_10

# The first four digits, from and to, and how many digits a card of this issuer has.
ISSUERS: tuple[tuple[int, int, frozenset[int]], ...] = (
    (4000, 4999, frozenset({13, 16, 19})),  # Visa
    (5100, 5599, frozenset({16})),  # Mastercard
    (2221, 2720, frozenset({16})),  # Mastercard
    (3400, 3499, frozenset({15})),  # American Express
    (3700, 3799, frozenset({15})),  # American Express
    (3000, 3059, frozenset({14})),  # Diners Club
    (3095, 3095, frozenset({14})),  # Diners Club
    (3600, 3699, frozenset(range(14, 20))),  # Diners Club
    (3800, 3999, frozenset(range(14, 20))),  # Diners Club
    (3528, 3589, frozenset(range(16, 20))),  # JCB
    (6011, 6011, frozenset(range(16, 20))),  # Discover
    (6440, 6599, frozenset(range(16, 20))),  # Discover
    (6200, 6299, frozenset(range(16, 20))),  # UnionPay
    (2200, 2204, frozenset(range(16, 20))),  # Mir
    (5000, 5099, frozenset(range(13, 20))),  # Maestro
    (5600, 5899, frozenset(range(13, 20))),  # Maestro
    (6304, 6304, frozenset(range(13, 20))),  # Maestro
    (6759, 6769, frozenset(range(13, 20))),  # Maestro
)


def card(run: str) -> int:
    """Length of the card number that a run of digits and separators begins with; 0 without one."""
    digits = [at for at, char in enumerate(run) if char.isdigit()]
    prefix = int(run[:4])
    valid = {size for low, high, sizes in ISSUERS if low <= prefix <= high for size in sizes}
    for size in sorted(valid, reverse=True):
        end = ending(run, digits, size)
        if end and luhn.is_valid("".join(run[at] for at in digits[:size])):
            return end
    return 0


def iban(run: str) -> int:
    """Length of the IBAN that a run of letters, digits and separators begins with; or 0."""
    size = iban_length(run[:2].upper())
    places = [at for at, char in enumerate(run) if char.isalnum()]
    end = ending(run, places, size)
    found = "".join(run[at] for at in places[:size])
    return end if end and mod_97_10.is_valid(found[4:] + found[:4]) else 0


@cache
def iban_length(country: str) -> int:
    """Characters of an IBAN of this country; 0 where there are none."""
    ((_, entry),) = numdb.get("iban").info(country)
    counts = re.findall(r"(\d+)!", entry.get("bban", ""))
    return 4 + sum(map(int, counts)) if counts else 0


def ending(run: str, places: list[int], size: int) -> int:
    """Where the first `size` of these characters end, if nothing touches them there; or 0."""
    if not 0 < size <= len(places):
        return 0
    end = places[size - 1] + 1
    return 0 if size < len(places) and places[size] == end else end
