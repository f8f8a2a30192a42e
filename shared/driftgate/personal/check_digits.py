"""Card numbers and IBANs by their check digits. Pure.

Sources: ISO/IEC 7812 (Luhn, issuer ranges), ISO 13616 (IBAN, mod 97) and its register of lengths.
"""

from __future__ import annotations

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

IBANS = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18
DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23
IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27
MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19
SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in IBANS.split()}


def card(run: str) -> int:
    """Length of the card number that a run of digits and separators begins with; 0 without one."""
    digits = [at for at, char in enumerate(run) if char.isdigit()]
    prefix = int(run[:4])
    valid = {size for low, high, sizes in ISSUERS if low <= prefix <= high for size in sizes}
    for size in sorted(valid, reverse=True):
        end = ending(run, digits, size)
        if end and luhn([int(run[at]) for at in digits[:size]]):
            return end
    return 0


def iban(run: str) -> int:
    """Length of the IBAN that a run of letters, digits and separators begins with; or 0."""
    size = IBAN_LENGTHS.get(run[:2].upper(), 0)
    places = [at for at, char in enumerate(run) if char.isalnum()]
    end = ending(run, places, size)
    return end if end and mod_97([run[at] for at in places[:size]]) == 1 else 0


def ending(run: str, places: list[int], size: int) -> int:
    """Where the first `size` of these characters end, if nothing touches them there; or 0."""
    if not 0 < size <= len(places):
        return 0
    end = places[size - 1] + 1
    return 0 if size < len(places) and places[size] == end else end


def luhn(digits: list[int]) -> bool:
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0


def mod_97(chars: list[str]) -> int:
    return int("".join(str(int(char, 36)) for char in chars[4:] + chars[:4])) % 97
