"""A world of customer messages that moves: the shop Harbour & Volt and its support desk.

    python examples/support-triage/world.py OUT.csv [--seed 7] [--frozen]

Writes dated, labelled messages: some weeks before the launch of a classifier, then the weeks in
which it has to live. Why the world moves stands in `CAUSES`, each with its week; what people write
stands in `wording/`, one file a language. The same seed gives the same file.

Nothing here knows of a model. The labels are what the shop's own people would have chosen.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

# Named tuples instead of dataclasses: this file is also loaded by its path, without a module name.

FIRST_MONDAY = date(2025, 8, 18)
"""Week 1 of the played weeks begins here; the launch weeks end the day before."""

SUFFIX, PER_DAY = ".csv", 60
"""How the demo plays it: the ending of the file, and messages a day."""

COLUMNS = ("text", "label", "time", "language", "channel", "subject")


class Cause(NamedTuple):
    """One reason why the world of a later week differs from the world of the launch.

    `matters` are the matters ("label/name") that the cause brings, `share` is their part of all
    messages once `ramp` weeks have passed since the start of week `from_week`. `until_week` is the
    last week, None where the change stays.
    """

    name: str
    from_week: int
    until_week: int | None
    says: str
    kind: str
    matters: tuple[str, ...] = ()
    share: float = 0.0
    ramp: float = 3.0

    def presence(self, week: float) -> float:
        """How much of the cause is there, 0 to 1, at a point in time (1.0: start of week 1)."""
        if week < self.from_week or (self.until_week and week >= self.until_week + 1):
            return 0.0
        return min(1.0, (week - self.from_week + 0.2) / self.ramp)


CAUSES: tuple[Cause, ...] = (
    Cause(
        "mix",
        1,
        None,
        "More people write Spanish and about the app, fewer ask before buying.",
        "share",
    ),
    Cause(
        "Gatekeeper",
        2,
        None,
        "The smart lock Gatekeeper is sold; its faults read like account trouble.",
        "product",
        ("device_fault/lock_refuses",),
        0.027,
    ),
    Cause(
        "passkey",
        3,
        None,
        "Sign-in by passkey begins; people describe phones and fingerprints.",
        "wording",
        ("account_access/passkey",),
        0.025,
    ),
    Cause(
        "Courier",
        4,
        None,
        "The robot vacuum Courier is sold; its faults read like late deliveries.",
        "product",
        ("device_fault/robot_lost",),
        0.025,
    ),
    Cause(
        "PayPace",
        5,
        None,
        "PayPace lets people pay in parts; it reads like a plan.",
        "wording",
        ("billing/instalments",),
        0.025,
    ),
    Cause(
        "locker",
        6,
        None,
        "Parcels go to lockers; people write about codes and PINs.",
        "wording",
        ("delivery/locker_code",),
        0.025,
    ),
    Cause(
        "Tally",
        7,
        None,
        "The energy meter Tally is sold; its faults read like wrong bills.",
        "product",
        ("device_fault/meter_wrong",),
        0.025,
    ),
    Cause(
        "replacement policy",
        9,
        None,
        "Goods that arrive damaged go to warranty, no longer to refund: same words, new label.",
        "meaning",
        ("refund/arrived_damaged",),
    ),
    Cause(
        "eSIM",
        10,
        None,
        "Data plans come as eSIM; people describe phones that do not connect.",
        "wording",
        ("subscription/esim",),
        0.025,
    ),
    Cause(
        "Ledger",
        11,
        None,
        "The e-paper notebook Ledger is sold; its app's faults read like wrong statements.",
        "product",
        ("app_problem/ledger_pages",),
        0.025,
    ),
    Cause(
        "trade_in",
        12,
        None,
        "The shop takes old devices in part exchange: a class that did not exist.",
        "class",
        (
            "trade_in/offer",
            "trade_in/how",
            "trade_in/kit",
            "trade_in/credit",
            "trade_in/condition",
            "trade_in/wipe",
        ),
        0.075,
        8.0,
    ),
    Cause(
        "Sundial",
        13,
        None,
        "The wake-up lamp Sundial is sold: one more name in every matter.",
        "product",
    ),
    Cause(
        "firmware 7",
        14,
        None,
        "Firmware 7 goes out; people speak of updates, codes and rollbacks.",
        "wording",
        ("device_fault/firmware",),
        0.025,
    ),
    Cause(
        "holidays",
        16,
        19,
        "The holidays: three times the delivery messages, gifts and last dates. It passes.",
        "season",
        ("delivery/gift_in_time", "refund/gift_exchange"),
        0.03,
        1.0,
    ),
    Cause(
        "Postbox",
        17,
        None,
        "The mail sensor Postbox is sold: one more name in every matter.",
        "product",
    ),
    Cause(
        "Sparks",
        19,
        None,
        "Loyalty points named Sparks can be spent.",
        "wording",
        ("billing/points",),
        0.025,
    ),
    Cause(
        "Shield",
        20,
        None,
        "Accident cover is sold as Shield; it reads like a plan or a fault.",
        "wording",
        ("warranty/shield",),
        0.025,
    ),
    Cause(
        "Concierge",
        21,
        None,
        "The voice screen Concierge is announced; questions about it name other desks' work.",
        "product",
        ("product_question/concierge",),
        0.025,
    ),
)
"""Why the world moves, in the order of time. Weeks count from `FIRST_MONDAY`, the first is 1."""

MEANS_NOW = {"refund/arrived_damaged": "warranty"}
"""What a matter is labelled once the cause of kind "meaning" that names it has begun."""

LABEL_SHARES = {
    "delivery": (0.140, 0.140),
    "refund": (0.135, 0.130),
    "billing": (0.120, 0.115),
    "account_access": (0.110, 0.105),
    "device_fault": (0.125, 0.125),
    "app_problem": (0.095, 0.125),
    "subscription": (0.090, 0.085),
    "warranty": (0.085, 0.085),
    "product_question": (0.100, 0.090),
}
"""A label's part of the matters known at launch, at the launch and at the end of week 24."""

MATTER_WEIGHTS = {"refund/arrived_damaged": 2.6}
"""How common a matter is within its label, where the others have 1."""

SPANISH_SHARES = (0.25, 0.31)
SEASON_FACTOR = 3.0
WEEKS_OF_CHANGE = 24


class Channel(NamedTuple):
    """How people write on one channel: shares and rates from 0 to 1, `typos` per word."""

    share: float
    typos: float
    short: float
    lower: float
    bare: float


CHANNELS = {
    "email": Channel(0.40, typos=0.010, short=0.02, lower=0.10, bare=0.03),
    "chat": Channel(0.30, typos=0.030, short=0.30, lower=0.60, bare=0.35),
    "app": Channel(0.20, typos=0.025, short=0.20, lower=0.40, bare=0.25),
    "phone": Channel(0.10, typos=0.000, short=0.00, lower=1.00, bare=1.00),
}

TWO_MATTERS = 0.035
"""Messages about two matters: either label would do, so half of them cannot be told."""
TOO_VAGUE = 0.03
"""Messages that fit two desks equally well."""
BORROWED = 0.10
"""Messages with a word of the other language."""
ACCENTS_DROPPED = 0.35
"""Spanish messages typed without accents."""
RETURNING = 0.4
"""Messages from a customer who wrote before."""
MIN_WORDS, MAX_WORDS = 6, 25

HOURS = (1, 1, 0, 0, 0, 1, 2, 4, 7, 9, 10, 10, 9, 8, 8, 8, 8, 9, 9, 8, 7, 5, 3, 2)
WEEKDAYS = (1.15, 1.10, 1.05, 1.00, 1.00, 0.90, 0.80)


class Message(NamedTuple):
    """A row of the world, its fields as in `COLUMNS`; `matter` is for tests, not written."""

    text: str
    label: str
    time: datetime
    language: str
    channel: str
    subject: str
    matter: str


def messages(
    *,
    seed: int = 7,
    per_day: float = 45,
    launch_per_day: float = 50,
    launch_weeks: int = 4,
    weeks: int = WEEKS_OF_CHANGE,
    frozen: bool = False,
) -> Iterator[Message]:
    """The world in the order of time. `frozen` keeps it as it was at launch, for ever."""
    rng = random.Random(seed)
    customers = Customers(rng)
    for day in range(-7 * launch_weeks, 7 * weeks):
        mean = (launch_per_day if day < 0 else per_day) * WEEKDAYS[day % 7]
        count = max(1, round(rng.gauss(mean, mean**0.5)))
        week = 0.0 if frozen else 1 + day / 7
        for at in sorted(_moment(rng, FIRST_MONDAY + timedelta(days=day)) for _ in range(count)):
            yield _message(rng, at, week, customers)


def write_world(path: Path | str, **settings: Any) -> int:
    """Write the world of `messages(**settings)` to a CSV file; returns the number of rows."""
    rows = 0
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for message in messages(**settings):
            stamp = message.time.strftime("%Y-%m-%dT%H:%M:%SZ")
            writer.writerow([stamp if c == "time" else getattr(message, c) for c in COLUMNS])
            rows += 1
    return rows


class Customers:
    """Ids of customers. Some write again, always in their own language."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._known: dict[str, list[str]] = {}
        self._numbers = list(range(100_000))
        rng.shuffle(self._numbers)

    def writes(self, language: str) -> str:
        known = self._known.setdefault(language, [])
        if known and self._rng.random() < RETURNING:
            return self._rng.choice(known)
        known.append(f"c-{self._numbers.pop():05d}")
        return known[-1]


def _message(rng: random.Random, at: datetime, week: float, customers: Customers) -> Message:
    language = "es" if rng.random() < _between(SPANISH_SHARES, week) else "en"
    channel = _weighted(rng, {name: channel.share for name, channel in CHANNELS.items()})
    matter = _weighted(rng, matter_shares(week))
    text = Writer(rng, wording(language), week).write(matter)
    return Message(
        text=_as_typed(rng, text, language, CHANNELS[channel]),
        label=label_of(matter, week),
        time=at,
        language=language,
        channel=channel,
        subject=customers.writes(language),
        matter=matter,
    )


# What people write about, and what it is called


def matter_shares(week: float) -> dict[str, float]:
    """Each matter's part of the messages at a point in time; sums to 1."""
    brought = {
        matter: cause.share * cause.presence(week) / len(cause.matters)
        for cause in CAUSES
        if cause.kind != "meaning"
        for matter in cause.matters
    }
    shares = {matter: share * _season(matter, week) for matter, share in _usual(week).items()}
    rest = (1 - sum(brought.values())) / sum(shares.values())
    return {matter: share * rest for matter, share in shares.items()} | brought


def label_of(matter: str, week: float) -> str:
    """The label that the shop gives to a matter at a point in time."""
    changed = any(c.kind == "meaning" and matter in c.matters and c.presence(week) for c in CAUSES)
    return MEANS_NOW[matter] if changed else matter.partition("/")[0]


def _usual(week: float) -> dict[str, float]:
    """Shares of the matters known at launch, before season and new matters."""
    brought = {m for cause in CAUSES if cause.kind != "meaning" for m in cause.matters}
    shares: dict[str, float] = {}
    for label, ends in LABEL_SHARES.items():
        names = [f"{label}/{name}" for name in wording("en")["says"][label]]
        weights = {name: MATTER_WEIGHTS.get(name, 1.0) for name in names if name not in brought}
        part = _between(ends, week) / sum(weights.values())
        shares |= {name: weight * part for name, weight in weights.items()}
    return shares


def _season(matter: str, week: float) -> float:
    on = any(cause.kind == "season" and cause.presence(week) for cause in CAUSES)
    return SEASON_FACTOR if on and matter.startswith("delivery/") else 1.0


def devices_sold(week: float) -> dict[str, float]:
    """Products that came after the launch, and how much each is talked about, 0 to 1."""
    return {
        cause.name: cause.presence(week)
        for cause in CAUSES
        if cause.kind == "product" and cause.presence(week)
    }


# How a message is put together


class Writer:
    """Composes one message in the words of one language and week."""

    def __init__(self, rng: random.Random, words: dict[str, Any], week: float) -> None:
        self.rng = rng
        self.words = words
        self.week = week

    def write(self, matter: str) -> str:
        """A message about a matter, within the limits of length."""
        label = label_of(matter, self.week)
        draw = self.rng.random()
        if draw < TWO_MATTERS:
            return self._two(matter, label)
        if draw < TWO_MATTERS + TOO_VAGUE and (pairs := self._vague_for(label)):
            return self._fit([("says", self._say(pairs)), *self._maybe_detail()])
        grammars = self.words["grammars"]
        order = self.rng.choice(grammars["all"] + 2 * grammars[label]).split()
        return self._fit([(part, self._part(part, matter, label)) for part in order])

    def _two(self, matter: str, label: str) -> str:
        shares = matter_shares(self.week)
        others = {m: s for m, s in shares.items() if s and label_of(m, self.week) != label}
        both = [self._matter(matter), self._matter(_weighted(self.rng, others))]
        self.rng.shuffle(both)
        join = self.rng.choice(self.words["joins"])
        return self._fit([("says", both[0]), ("says", f"{join} {both[1]}")])

    def _vague_for(self, label: str) -> list[str]:
        return [
            p for pair, say in self.words["vague"].items() if label in pair.split() for p in say
        ]

    def _maybe_detail(self) -> list[tuple[str, str]]:
        return [("detail", self._say(self.words["details"]))] if self.rng.random() < 0.5 else []

    def _part(self, part: str, matter: str, label: str) -> str:
        if part == "says":
            return self._matter(matter)
        if part == "ask":
            return self._say(self.words["asks"][label])
        if part == "aside":
            others = [name for name in self.words["asides"] if name != label]
            return self._say(self.words["asides"][self.rng.choice(others)])
        return self._say(self.words[f"{part}s"])

    def _matter(self, matter: str) -> str:
        label, name = matter.split("/")
        return self._say(self.words["says"][label][name])

    def _say(self, phrases: Sequence[str]) -> str:
        """One of the phrases with its choices, slots and digits filled."""
        text = self.rng.choice(phrases)
        while match := re.search(r"\[([^\[\]]*)\]", text):
            choice = self.rng.choice(match.group(1).split("|"))
            text = text[: match.start()] + choice + text[match.end() :]
        text = re.sub(r"\{(\w+)\}", lambda m: self._slot(m.group(1)), text)
        text = re.sub("#", lambda _: str(self.rng.randint(1, 9)), text)
        return re.sub(r" +", " ", text).strip()

    def _slot(self, name: str) -> str:
        sold = devices_sold(self.week) if name == "device" else {}
        if self.rng.random() < 0.06 * sum(sold.values()):
            return _weighted(self.rng, sold)
        return self.rng.choice(self.words["slots"][name])

    def _fit(self, parts: list[tuple[str, str]]) -> str:
        """Join the parts; drop the least needed ones while too long, add one while too short."""
        for spare in ("closer", "aside", "detail", "opener", "request", "ask"):
            if _length(parts) > MAX_WORDS:
                parts = [part for part in parts if part[0] != spare]
        while _length(parts) > MAX_WORDS and len(parts) > 1:
            parts = parts[:-1]
        while _length(parts) < MIN_WORDS:
            parts = [*parts, ("detail", self._say(self.words["details"]))]
        text = parts[0][1]
        for (before, _), (_, clause) in pairwise(parts):
            mark = ", " if before == "opener" else self.rng.choice((". ", ". ", ", ", " - ", " "))
            text = text.rstrip(",") + (" " if text.endswith("?") else mark) + clause
        return text


def _length(parts: Sequence[tuple[str, str]]) -> int:
    return sum(len(clause.split()) for _, clause in parts)


# How it is typed


def _as_typed(rng: random.Random, text: str, language: str, channel: Channel) -> str:
    """The text as the channel's people type it: shortened, borrowed, misspelt, bare."""
    words = wording(language)
    if rng.random() < BORROWED:
        text = _replaced(text, words["borrowed"])
    if rng.random() < channel.short:
        text = _replaced(text, words["short"])
    if language == "es" and rng.random() < ACCENTS_DROPPED:
        text = "".join(
            c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c)
        )
    text = " ".join(_mistyped(rng, word, channel.typos) for word in text.split())
    if rng.random() < channel.bare:
        text = re.sub(r"[.,;:!?¿¡](?=\s|$)|[¿¡]|(?<=\s)-\s", "", text)
    if rng.random() < channel.lower:
        return text.lower()
    return _sentences(text)


def _replaced(text: str, table: dict[str, str]) -> str:
    return " ".join(table.get(word.lower(), word) for word in text.split())


def _mistyped(rng: random.Random, word: str, rate: float) -> str:
    if len(word) < 4 or not word.isalpha() or rng.random() >= rate:
        return word
    at = rng.randrange(1, len(word) - 1)
    slips = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
    )
    return rng.choice(slips)


def _sentences(text: str) -> str:
    return re.sub(r"(^|[.?] )(¿?)([^\W\d_])", lambda m: m[1] + m[2] + m[3].upper(), text)


# Small help


@cache
def wording(language: str) -> dict[str, Any]:
    """The phrases of a language, as `wording/LANGUAGE.toml` has them."""
    path = Path(__file__).parent / "wording" / f"{language}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _between(ends: tuple[float, float], week: float) -> float:
    start, end = ends
    return start + (end - start) * min(1.0, max(0.0, (week - 1) / WEEKS_OF_CHANGE))


def _weighted(rng: random.Random, weights: dict[str, float]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _moment(rng: random.Random, day: date) -> datetime:
    hour = rng.choices(range(24), HOURS)[0]
    return datetime.combine(day, time(hour, rng.randrange(60), rng.randrange(60)), UTC)


def main() -> None:
    """Write the world that the command line asks for."""
    parser = argparse.ArgumentParser(description="Write the world of Harbour & Volt as CSV.")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--per-day", type=float, default=45, help="messages a day after the launch")
    parser.add_argument("--launch-per-day", type=float, default=50, help="messages a day before it")
    parser.add_argument("--launch-weeks", type=int, default=4)
    parser.add_argument("--weeks", type=int, default=WEEKS_OF_CHANGE, help="weeks after the launch")
    parser.add_argument("--frozen", action="store_true", help="a world in which nothing changes")
    settings = vars(parser.parse_args())
    out = settings.pop("out")
    rows = write_world(out, **settings)
    print(f"{rows} messages in {out}; week 1 begins on {FIRST_MONDAY}")


if __name__ == "__main__":
    main()
