"""A labelled text, and what a user may say about the file that it stands in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from driftgate.errors import BadConfig

MAX_TEXT = 20_000
"""Characters of the longest text that a model is asked about; the router refuses longer ones."""


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled text. time: ms since 1970, None without dates. id: the file's own, if any.
    rejected: an answer that the label is preferred to.
    """

    text: str
    label: str
    time: int | None = None
    subject: str | None = None
    slices: dict[str, str] = field(default_factory=dict)
    id: str | None = None
    rejected: str | None = None

    def at(self, time: int) -> Row:
        return replace(self, time=time)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user says about a file; what is not said is found by rules.

    Attributes:
        text: names of the columns that make the text, joined in this order.
        time: name of a column; `none`: the file is read without dates.
        slices: names of columns; empty tuple: none; None: found by rules.
        dates: dmy, mdy or ymd, the order of day, month and year; or a format of `strptime`.
        encoding: of text files, such as cp1252.
        left_out: largest share of rows that may be left out before the file is refused, 0..1.

    Raises:
        BadConfig: `left_out` is no share.
    """

    text: tuple[str, ...] = ()
    label: str | None = None
    time: str | None = None
    subject: str | None = None
    slices: tuple[str, ...] | None = None
    dates: str | None = None
    encoding: str | None = None
    left_out: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.left_out <= 1:
            raise BadConfig(
                f"--left-out {self.left_out}: expected a share of the rows from 0 to 1, such as 0.2"
            )
