"""Line charts as plain SVG: figures over the hours of a soak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a", "#bf3989")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 860, 250, 60, 210, 34, 34


def chart(panels: Sequence[tuple[str, str, Mapping[str, Sequence[float | None]]]], x_title: str) -> str:
    """An SVG of panels below each other.

    :param panels: title, unit, and by name the values at hour 1, 2, …; None where there is none.
    """
    height = _HEIGHT * len(panels) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif"'
        ' font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for number, (title, unit, lines) in enumerate(panels):
        parts += [f'<g transform="translate(0 {number * _HEIGHT})">', *_panel(title, unit, lines), "</g>"]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{height - 8}" text-anchor="middle">{escape(x_title)}</text></svg>')
    return "\n".join(parts) + "\n"


def _panel(title: str, unit: str, lines: Mapping[str, Sequence[float | None]]) -> list[str]:
    values = [v for line in lines.values() for v in line if v is not None]
    top = _nice(max(values, default=1.0))
    count = max((len(line) for line in lines.values()), default=1)
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(index: int) -> float:
        return _LEFT + width * index / max(1, count - 1)

    def y(value: float) -> float:
        return _TOP + height * (1 - value / top)

    parts = [f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(title)} ({escape(unit)})</text>']
    for step in range(5):
        value = top * step / 4
        parts += [
            f'<line x1="{_LEFT}" x2="{_LEFT + width}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#d0d7de"/>',
            f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,.0f}</text>',
        ]
    for index in range(0, count, max(1, count // 8)):
        parts.append(f'<text x="{x(index):.1f}" y="{_TOP + height + 16}" text-anchor="middle">{index + 1}</text>')
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(line) if v is not None)
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"/>',
            f'<rect x="{_LEFT + width + 14}" y="{_TOP + 18 * number}" width="10" height="10" fill="{colour}"/>',
            f'<text x="{_LEFT + width + 30}" y="{_TOP + 18 * number + 9}">{escape(name)}</text>',
        ]
    return parts


def _nice(most: float) -> float:
    """A round number at or above it."""
    size = 1.0
    while size * 10 <= most:
        size *= 10
    return next(size * step for step in (1, 2, 4, 5, 8, 10, 20) if size * step >= most)
