"""A picture of a few shapes and words, as SVG. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from driftgate.errors import BadConfig

INK, FAINT, BAD, WARN, GOOD = "#222", "#ccc", "#b3541e", "#d9a441", "#0b6e4f"


@dataclass
class Picture:
    """Lengths in pixels."""

    width: int
    height: int
    parts: list[str] = field(default_factory=list)

    def bar(self, x: float, y: float, width: float, height: float, fill: str, says: str) -> None:
        """A filled rectangle; `says` shows where the pointer rests on it."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" '
            f'fill="{fill}"><title>{escape(says)}</title></rect>'
        )

    def line(self, x: float, y: float, to_x: float, to_y: float, stroke: str = FAINT) -> None:
        self.parts.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{stroke}"/>'
        )

    def text(self, x: float, y: float, words: str, anchor: str = "start") -> None:
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    @property
    def svg(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'font-family="sans-serif" font-size="12" fill="{INK}">'
        )
        return "\n".join(
            [head, '<rect width="100%" height="100%" fill="white"/>', *self.parts, "</svg>", ""]
        )


def check(option: str, path: Path | None) -> None:
    """
    Raises:
        BadConfig: no SVG is asked for; before the work is done, not after.
    """
    if path is not None and path.suffix.lower() != ".svg":
        raise BadConfig(f"{option} {path}: expected a name that ends in .svg")


def write(path: Path, picture: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(picture.svg, encoding="utf-8")
