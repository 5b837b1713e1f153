"""Draw counted events: panels side by side with labels and a legend.

Images hold indices of PALETTE, so that all colours are exact, in a GIF too, and files stay small.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Indices = NDArray[np.uint8]
Counts = NDArray[np.int32]

# Vermillion and blue of Okabe and Ito's palette, which colour-blind people can distinguish; together they give black.
ON_COLOUR = (213, 94, 0)
OFF_COLOUR = (0, 114, 178)
# Pairs of shades and the greys must fit the 256 colours of a GIF.
SHADES = 8
# The shade of a single event beside pixels with many.
FAINTEST = 0.3
# Each word with its shades of ON and OFF.
LEGEND = (("ON", SHADES, 0), ("OFF", 0, SHADES), ("both", SHADES, SHADES))
# The share of pixels below the strongest shade: a few that flicker must not make all others faint.
FULL_SHARE = 0.98
# For text, whose edges are smoothed.
GREYS = 64
FIRST_GREY = (SHADES + 1) ** 2
# Frames are light, to stand back behind the events; text is nearly black.
FRAME_GREY = FIRST_GREY + 12
TEXT_GREY = 0.87


def _palette() -> bytes:
    """Return RGB of each index: shade of ON · 9 + shade of OFF, then greys from white to black."""
    shade = np.where(np.arange(SHADES + 1) > 0, FAINTEST + (1 - FAINTEST) * np.arange(SHADES + 1) / SHADES, 0)
    on, off = (1 - shade[:, None] * (1 - np.array(colour) / 255) for colour in (ON_COLOUR, OFF_COLOUR))
    # ON and OFF mix like inks on paper: where both lie, each absorbs its part of the light.
    inks = (on[:, None] * off[None, :]).reshape(-1, 3)
    greys = np.repeat(np.linspace(1, 0, GREYS)[:, None], 3, axis=1)
    return np.round(255 * np.concatenate([inks, greys])).astype(np.uint8).tobytes()


PALETTE = _palette()


@dataclass(frozen=True, eq=False)
class Panel:
    """One frame and the label below it. inks: index array of shape (height, width), or None for an empty panel."""

    label: str
    inks: Indices | None


def full_count(counts: Iterable[Counts]) -> int:
    """Return the count from which a pixel has its full colour: the 98th percentile of pixels with events, at least 1.

    Only one frame is held in memory at a time.
    """
    pixels = Counter[int]()
    for frame in counts:
        busy, numbers = np.unique(frame[frame > 0], return_counts=True)
        pixels.update(dict(zip(busy.tolist(), numbers.tolist(), strict=True)))
    if not pixels:
        return 1
    values = np.array(sorted(pixels))
    ends = np.cumsum([pixels[value] for value in values.tolist()])
    place = FULL_SHARE * (ends[-1] - 1)
    low, high = (int(values[np.searchsorted(ends, rank, side="right")]) for rank in (int(place), math.ceil(place)))
    return max(1, int(low + (high - low) * (place % 1)))


def ink(on: Counts, off: Counts, full: int) -> Indices:
    """Return the palette index of each pixel from its counts of ON and OFF events, arrays of one shape."""
    on_shade, off_shade = (np.ceil(np.minimum(count, full) * (SHADES / full)) for count in (on, off))
    return (on_shade * (SHADES + 1) + off_shade).astype(np.uint8)


@cache
def _font_file() -> str:
    """Return a font with the letters of most languages; Pillow's own has no umlauts."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


class Canvas:
    """The layout of panels of one size, with labels, a title above and a legend below; lengths in pixels.

    frame: (height, width) of a frame; each of its pixels becomes a square of scale × scale.
    """

    def __init__(self, frame: tuple[int, int], panels: int, columns: int, title: str, scale: int) -> None:
        self._scale, self._columns, self._title = scale, columns, title
        self._rows = math.ceil(panels / columns)
        self._height, self._width = frame[0] * scale, frame[1] * scale
        self._letter = max(12, round(self._width / 15))
        self._line = self._gap = round(1.5 * self._letter)
        self._font = ImageFont.truetype(_font_file(), self._letter)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the image."""
        grid = self._columns * (self._width + self._gap) - self._gap
        width = 2 * self._gap + max(grid, self._text_width(self._title), self._legend_width)
        return width, round(3.5 * self._line) + self._rows * self._row_height

    def origin(self, panel: int) -> tuple[int, int]:
        """Return (x, y) of the upper left corner of a panel's frame."""
        row, column = divmod(panel, self._columns)
        return self._gap + column * (self._width + self._gap), 2 * self._line + row * self._row_height

    def image(self, panels: Sequence[Panel]) -> Image.Image:
        """Return the picture of the panels, with mode P."""
        width, height = self.size
        text = Image.new("L", (width, height))
        draw = ImageDraw.Draw(text)
        draw.text((self._gap, self._line), self._title, 255, self._font, anchor="lm")
        patches = self._legend(draw, height - self._line)
        for number, panel in enumerate(panels):
            x, y = self.origin(number)
            middle = (x + self._width // 2, y + self._height + round(0.6 * self._line))
            draw.text(middle, panel.label, 255, self._font, anchor="mm")
            if panel.inks is not None:
                patches.append((x, y, np.kron(panel.inks, np.ones((self._scale, self._scale), np.uint8))))
        indices = (FIRST_GREY + np.asarray(text) * (TEXT_GREY * (GREYS - 1) / 255)).astype(np.uint8)
        for x, y, patch in patches:
            rows, columns = patch.shape
            indices[y - 1 : y + rows + 1, x - 1 : x + columns + 1] = FRAME_GREY
            indices[y : y + rows, x : x + columns] = patch
        image = Image.frombytes("P", (width, height), indices.tobytes())
        image.putpalette(PALETTE)
        return image

    @property
    def _row_height(self) -> int:
        return self._height + round(1.5 * self._line)

    def _text_width(self, text: str) -> int:
        return math.ceil(self._font.getlength(text))

    def _legend(self, draw: ImageDraw.ImageDraw, middle: int) -> list[tuple[int, int, Indices]]:
        """Write the words of the legend at a height, and return its patches of colour, each with x and y."""
        side, x, patches = self._letter, self._gap, []
        for word, on, off in LEGEND:
            index = on * (SHADES + 1) + off
            patches.append((x, middle - side // 2, np.full((side, side), index, np.uint8)))
            draw.text((x + round(1.4 * side), middle), word, 255, self._font, anchor="lm")
            x += round(2.6 * side) + self._text_width(word)
        return patches

    @property
    def _legend_width(self) -> int:
        return sum(round(2.6 * self._letter) + self._text_width(word) for word, _, _ in LEGEND)
