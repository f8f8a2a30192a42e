"""A world of customer messages that become tickets: the shop Fjord & Finch and its desk.

    python examples/ticket-extract/world.py OUT.jsonl [--seed 7] [--frozen]

Writes dated pairs, a message and the ticket that the desk makes of it: some weeks before the launch
of a model, then the weeks in which it has to live. Why the world moves stands in `CAUSES`, each
with its week; what people write stands in `wording/`, one file a language. The same seed writes
the same file.

Nothing here knows of a model. The tickets are what the shop's own people would have written.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tomllib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

# Named tuples instead of dataclasses: this file is also loaded by its path, without a module name.

FIRST_MONDAY = date(2025, 8, 18)
"""Week 1 of the played weeks begins here; the launch weeks end the day before."""


SUFFIX, PER_DAY = ".jsonl", 12
"""How the demo plays it: the ending of the file, and messages a day."""


class Cause(NamedTuple):
    """One reason why the world of a later week differs from the world of the launch.

    `until_week` is the last week, None where the change stays. `share`: its part of the messages
    that it can be in, once `ramp` weeks have passed.
    """

    name: str
    from_week: int
    until_week: int | None
    says: str
    kind: str
    share: float = 0.0
    ramp: float = 3.0

    def presence(self, week: float) -> float:
        """How much of the cause is there, 0 to 1, at a point in time (1.0: start of week 1)."""
        if week < self.from_week or (self.until_week and week >= self.until_week + 1):
            return 0.0
        return min(1.0, (week - self.from_week + 0.5) / self.ramp)


CAUSES: tuple[Cause, ...] = (
    Cause("mix", 1, None, "More people write Spanish and German, and more write at all.", "share"),
    Cause("airfryer", 2, None, "Air fryers are sold.", "product", 0.10),
    Cause("Lumo", 3, None, "The lamp Lumo is sold.", "product", 0.08),
    Cause("locker", 4, None, "Parcels go to lockers; people write of codes.", "words", 0.16),
    Cause("dehumidifier", 5, None, "Dehumidifiers are sold.", "product", 0.08),
    Cause(
        "shop",
        7,
        None,
        "Goods can be picked up in shops: tickets have a new field, `shop`, where one is named.",
        "field",
        0.30,
    ),
    Cause("Brisa", 8, None, "The fan Brisa is sold.", "product", 0.08),
    Cause(
        "currency",
        10,
        None,
        "Amounts are written for the new ledger: EUR 24.90, no longer 24.90 €.",
        "convention",
    ),
    Cause("francs", 12, None, "The shop delivers to Switzerland.", "currency", 0.35),
    Cause("waffle", 13, None, "Waffle irons are sold.", "product", 0.08),
    Cause("dates", 14, None, "Dates have the month first: 11-03, no longer 03.11.", "convention"),
    Cause(
        "holidays", 16, 19, "The holidays: gifts, deliveries, haste. It passes.", "season", 0.4, 1
    ),
    Cause("Splitly", 18, None, "Splitly lets people pay in parts.", "words", 0.35),
    Cause("heater", 20, None, "Oil heaters are sold.", "product", 0.10),
)
"""Why the world moves, in the order of time. Weeks count from `FIRST_MONDAY`, the first is 1."""

BY_NAME = {cause.name: cause for cause in CAUSES}

PRODUCTS: dict[str, dict[str, tuple[str, ...]]] = {
    "kettle": {"en": ("kettle",), "es": ("hervidor",), "de": ("Wasserkocher",)},
    "toaster": {"en": ("toaster",), "es": ("tostadora",), "de": ("Toaster",)},
    "blender": {"en": ("blender",), "es": ("batidora",), "de": ("Mixer",)},
    "vacuum": {"en": ("vacuum", "hoover"), "es": ("aspiradora",), "de": ("Staubsauger",)},
    "lamp": {"en": ("lamp",), "es": ("lámpara",), "de": ("Lampe",)},
    "chair": {"en": ("chair",), "es": ("silla",), "de": ("Stuhl",)},
    "airfryer": {"en": ("air fryer",), "es": ("freidora de aire",), "de": ("Heißluftfritteuse",)},
    "lumo": {"en": ("Lumo",), "es": ("Lumo",), "de": ("Lumo",)},
    "dehumidifier": {
        "en": ("dehumidifier",),
        "es": ("deshumidificador",),
        "de": ("Luftentfeuchter",),
    },
    "brisa": {"en": ("Brisa",), "es": ("Brisa",), "de": ("Brisa",)},
    "waffle": {"en": ("waffle iron", "waffle maker"), "es": ("gofrera",), "de": ("Waffeleisen",)},
    "heater": {"en": ("oil heater", "heater"), "es": ("radiador",), "de": ("Ölradiator",)},
}
"""What a product is called in a ticket, and what people call it."""

TEAMS = {"delivery": 0.26, "returns": 0.22, "billing": 0.18, "repair": 0.2, "advice": 0.14}

NAMED, ORDER, AMOUNT, DATE = 0.85, 0.5, (0.33, 0.66), 0.25
"""Messages that name the product, the order, an amount (the second: in matters of billing), a
date."""

CURRENCIES = {
    "en": ("GBP", "£"),
    "es": ("EUR", "€"),
    "de": ("EUR", "€"),
    "ch": ("CHF", "CHF"),
}

URGENT, CALM = 0.16, 0.08
LANGUAGES = {"en": (0.55, 0.42), "es": (0.22, 0.30), "de": (0.23, 0.28)}
"""Share of the messages at the launch and at the end of week 24."""

TYPOS, LOWER, BARE, SHORT = 0.015, 0.35, 0.25, 0.12
"""Per word a slip; messages in lower case, without marks, with short forms."""

GREETED, CLOSED, ASIDE = 0.4, 0.3, 0.1
RETURNING = 0.3
GROWTH = (0.6, 1.4)
SEASON_TRAFFIC = 1.3
WEEKS_OF_CHANGE = 24
HOURS = (1, 1, 0, 0, 0, 1, 2, 4, 7, 9, 10, 10, 9, 8, 8, 8, 8, 9, 9, 8, 7, 5, 3, 2)


class Message(NamedTuple):
    """A message with its ticket. `causes`: the names of those that it shows."""

    text: str
    ticket: dict[str, str | None]
    time: datetime
    subject: str
    causes: frozenset[str]

    @property
    def language(self) -> str:
        return str(self.ticket["language"])


def messages(
    *,
    seed: int = 7,
    per_day: float = PER_DAY,
    launch_per_day: float = 20,
    launch_weeks: int = 4,
    weeks: int = WEEKS_OF_CHANGE,
    frozen: bool = False,
) -> Iterator[Message]:
    """The world in the order of time. `frozen` keeps it as it was at launch, for ever."""
    rng = random.Random(seed)
    people = People(rng)
    for day in range(-7 * launch_weeks, 7 * weeks):
        week = 0.0 if frozen or day < 0 else 1 + day / 7
        mean = launch_per_day if day < 0 else per_day * busy(week)
        count = max(1, round(rng.gauss(mean, mean**0.5 / 2)))
        on = FIRST_MONDAY + timedelta(days=day)
        for at in sorted(moment(rng, on) for _ in range(count)):
            yield Writer(rng, at, week, people).message()


def write_world(path: Path | str, **settings: Any) -> int:
    """Writes the world of `messages(**settings)` as pairs, one a line; returns their number."""
    rows = 0
    with Path(path).open("w", encoding="utf-8") as file:
        for message in messages(**settings):
            pair = {
                "input": message.text,
                "output": compact(message.ticket),
                "time": message.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "subject": message.subject,
                "slices": {"language": message.language},
            }
            file.write(json.dumps(pair, ensure_ascii=False) + "\n")
            rows += 1
    return rows


def compact(ticket: dict[str, str | None]) -> str:
    """JSON without white space: of each token that a model need not write, it writes none."""
    return json.dumps(ticket, ensure_ascii=False, separators=(",", ":"))


def busy(week: float) -> float:
    """How much is written in a week, where 1 is the mean of the played weeks without a season."""
    season = 1 + (SEASON_TRAFFIC - 1) * BY_NAME["holidays"].presence(week)
    return between(GROWTH, week) * season if week else 1.0


class People:
    """Ids of those who write. Some write again, always in their own language."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._known: dict[str, list[str]] = {}
        self._numbers = list(range(100_000))
        rng.shuffle(self._numbers)

    def writes(self, language: str) -> str:
        known = self._known.setdefault(language, [])
        if known and self._rng.random() < RETURNING:
            return self._rng.choice(known)
        known.append(f"f-{self._numbers.pop():05d}")
        return known[-1]


class Writer:
    """Writes one message, and notes what the desk would make of it."""

    def __init__(self, rng: random.Random, at: datetime, week: float, people: People) -> None:
        self.rng, self.at, self.week = rng, at, week
        self.language = weighted(rng, {k: between(v, week) for k, v in LANGUAGES.items()})
        self.subject = people.writes(self.language)
        self.wording = wording(self.language)
        self.shown: set[str] = set()

    def message(self) -> Message:
        team = weighted(self.rng, self.teams())
        product = self.product() if self.rng.random() < NAMED else None
        says = self.matter(team)
        said = [self.filled(self.rng.choice(says), it=self.called(product))]
        order = self.number() if self.rng.random() < ORDER else None
        amount = self.amount() if self.rng.random() < AMOUNT[team == "billing"] else None
        day = self.day() if self.rng.random() < DATE else None
        shop = self.shop(team)
        urgency, hint = self.urgency(team)
        details = self.wording["details"]
        more = []
        if order:
            more.append(self.filled(self.rng.choice(details["order"]), order=order))
        if amount:
            more.append(self.filled(self.rng.choice(details["amount"]), amount=amount[0]))
        if day:
            more.append(self.filled(self.rng.choice(details["date"]), date=day[0]))
        if shop:
            more.append(self.filled(self.rng.choice(details["shop"]), shop=shop))
        if hint:
            more.append(hint)
        if self.rng.random() < ASIDE:
            more.append(self.filled(self.rng.choice(self.wording["asides"])))
        self.rng.shuffle(more)
        parts = [*said, *more] if self.rng.random() < 0.7 else [*more[:1], *said, *more[1:]]
        ticket = {
            "language": self.language,
            "team": team,
            "product": product,
            "urgency": urgency,
            "order": order,
            "amount": amount[1] if amount else None,
            "date": day[1] if day else None,
        }
        if shop:
            ticket["shop"] = shop
        text = self.typed(self.joined(parts))
        return Message(text, ticket, self.at, self.subject, frozenset(self.shown))

    # ------------------------------------------------------------ what it is about

    def happens(self, name: str) -> bool:
        """Whether the message shows a cause, by its share at this time."""
        cause = BY_NAME[name]
        found = self.rng.random() < cause.share * cause.presence(self.week)
        self.shown |= {name} if found else set()
        return found

    def begun(self, name: str) -> bool:
        """Whether a convention is in force."""
        return self.week >= BY_NAME[name].from_week

    def teams(self) -> dict[str, float]:
        season = BY_NAME["holidays"].presence(self.week)
        return {team: share * (1 + season * (team == "delivery")) for team, share in TEAMS.items()}

    def product(self) -> str:
        new = {c.name: c.share * c.presence(self.week) for c in CAUSES if c.kind == "product"}
        old = 1 - sum(new.values())
        known = [name for name in PRODUCTS if name not in {cause.lower() for cause in new}]
        shares = {name: old / len(known) for name in known}
        found = weighted(self.rng, shares | {name.lower(): share for name, share in new.items()})
        self.shown |= {name for name in new if name.lower() == found}
        return found

    def called(self, product: str | None) -> str:
        if product is None:
            return str(self.rng.choice(self.wording["slots"]["any"]))
        name = self.rng.choice(PRODUCTS[product][self.language])
        article = self.rng.choice(self.wording["articles"])
        return f"{article} {name}".strip()

    def matter(self, team: str) -> Sequence[str]:
        """Phrases of the team, or those of a cause."""
        words = self.wording["words"]
        if team == "delivery" and self.happens("holidays"):
            return list(words["gift"])
        if team == "delivery" and self.happens("locker"):
            return list(words["locker"])
        if team == "billing" and self.happens("Splitly"):
            return list(words["splitly"])
        return list(self.wording["says"][team])

    def number(self) -> str:
        return f"{self.rng.randint(20_000, 99_999)}"

    def amount(self) -> tuple[str, str]:
        """As it is written, and as it stands in the ticket."""
        cents = self.rng.choice((0, 0, 50, 90, 95, 99))
        whole = self.rng.randint(5, 180)
        francs = self.language == "de" and self.happens("francs")
        code, sign = CURRENCIES["ch" if francs else self.language]
        shown = f"{whole}" if not cents else f"{whole}.{cents:02d}"
        if self.language != "en":
            shown = shown.replace(".", ",")
        how = self.rng.choice(self.wording["slots"]["francs" if francs else "amount"])
        exact = f"{whole}.{cents:02d}"
        if self.begun("currency"):
            self.shown.add("currency")
            return how.replace("{n}", shown), f"{code} {exact}"
        return how.replace("{n}", shown), f"{exact} {sign}"

    def day(self) -> tuple[str, str]:
        """One of the last three weeks, as it is written and as it stands in the ticket."""
        when = self.at.date() - timedelta(days=self.rng.randint(1, 21))
        how = self.rng.choice(self.wording["slots"]["date"])
        said = how.format(d=when.day, m=when.month)
        if self.begun("dates"):
            self.shown.add("dates")
            return said, f"{when:%m-%d}"
        return said, f"{when:%d.%m.}"

    def shop(self, team: str) -> str | None:
        """The shop where goods are picked up."""
        if team in ("delivery", "returns", "repair") and self.happens("shop"):
            return str(self.rng.choice(self.wording["slots"]["shops"]))
        return None

    def urgency(self, team: str) -> tuple[str, str | None]:
        """How urgent it is, and what says so."""
        season = BY_NAME["holidays"].presence(self.week) if team == "delivery" else 0
        drawn = self.rng.random()
        level = "high" if drawn < URGENT * (1 + season) else "low" if drawn > 1 - CALM else "normal"
        hints = self.wording["urgency"].get(level)
        return level, self.filled(self.rng.choice(hints)) if hints else None

    # ------------------------------------------------------------ how it is written

    def filled(self, phrase: str, **slots: str) -> str:
        """A phrase with its choices and slots filled."""
        while match := re.search(r"\[([^\[\]]*)\]", phrase):
            choice = self.rng.choice(match.group(1).split("|"))
            phrase = phrase[: match.start()] + choice + phrase[match.end() :]
        for name, value in slots.items():
            phrase = phrase.replace(f"{{{name}}}", value)
        return re.sub(r" +", " ", phrase).strip()

    def joined(self, parts: Sequence[str]) -> str:
        text = parts[0]
        for part in parts[1:]:
            mark = " " if text.endswith("?") else self.rng.choice((". ", ". ", ", ", " - "))
            text += mark + part
        if self.rng.random() < GREETED:
            opener, mark = self.rng.choice(self.wording["openers"]), self.rng.choice((", ", " "))
            text = f"{opener}{mark}{text}"
        if self.rng.random() < CLOSED:
            text += self.rng.choice((". ", ", ")) + self.rng.choice(self.wording["closers"])
        return text

    def typed(self, text: str) -> str:
        """As people type: short forms, slips, no marks, no capitals."""
        rng = self.rng
        if rng.random() < SHORT:
            short = self.wording["short"]
            text = " ".join(short.get(word, word) for word in text.split())
        text = " ".join(mistyped(rng, word) for word in text.split())
        if rng.random() < BARE:
            text = re.sub(r"[.,;:!?¿¡](?=\s|$)|¿|(?<=\s)-\s", "", text)
        return text.lower() if rng.random() < LOWER else text[:1].upper() + text[1:]


def mistyped(rng: random.Random, word: str) -> str:
    if len(word) < 4 or not word.isalpha() or rng.random() >= TYPOS:
        return word
    at = rng.randrange(1, len(word) - 1)
    slips = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
    )
    return rng.choice(slips)


# Small help


@cache
def wording(language: str) -> dict[str, Any]:
    """The phrases of a language, as `wording/LANGUAGE.toml` has them."""
    path = Path(__file__).parent / "wording" / f"{language}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def between(ends: tuple[float, float], week: float) -> float:
    start, end = ends
    return start + (end - start) * min(1.0, max(0.0, (week - 1) / WEEKS_OF_CHANGE))


def weighted(rng: random.Random, weights: dict[str, float]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def moment(rng: random.Random, day: date) -> datetime:
    hour = rng.choices(range(24), HOURS)[0]
    return datetime.combine(day, time(hour, rng.randrange(60), rng.randrange(60)), UTC)


def main() -> None:
    """Writes the world that the command line asks for."""
    parser = argparse.ArgumentParser(description="Write the world of Fjord & Finch as pairs.")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--per-day", type=float, default=PER_DAY, help="messages a day after the launch"
    )
    parser.add_argument("--launch-per-day", type=float, default=20, help="messages a day before it")
    parser.add_argument("--launch-weeks", type=int, default=4)
    parser.add_argument("--weeks", type=int, default=WEEKS_OF_CHANGE, help="weeks after the launch")
    parser.add_argument("--frozen", action="store_true", help="a world in which nothing changes")
    settings = vars(parser.parse_args())
    out = settings.pop("out")
    rows = write_world(out, **settings)
    print(f"{rows} messages in {out}; week 1 begins on {FIRST_MONDAY}")


if __name__ == "__main__":
    main()
