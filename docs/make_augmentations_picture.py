"""Draws docs/augmentations.png: a synthetic gesture as each augmentation changes it.

python docs/make_augmentations_picture.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sltune.events.augmentations.events import Events
from sltune.events.dataset import open_dataset
from sltune.events.importing import import_source
from sltune.events.sources.slanimals.source import open_slanimals
from sltune.events.synthetic.recordings import write_dataset
from sltune.events.views.canvas import OFF_COLOUR, ON_COLOUR
from sltune.extensions.code import NO_CODE
from sltune.extensions.kinds import KINDS, named

DOCS = Path(__file__).parent
SAMPLE, START_US, LENGTH_US = 3, 900_000, 90_000
SEED = 4
TEXTS = (
    "",
    "event_drop(probability=0.5)",
    "time_jitter(std_us=20000)",
    "spatial_shift(pixels=25)",
    "polarity_flip(probability=1)",
    "time_scale(fraction=0.5)",
    "rotation(degrees=25)",
    "horizontal_flip(probability=1)",
    "zoom(fraction=0.4)",
    "shear(fraction=0.4)",
    "elastic(fraction=0.1)",
    "area_drop(share=0.3)",
    "time_drop(fraction=0.4)",
    "hot_pixels(pixels=40, rate_hz=200)",
    "nda(operations=2)",
)
COLUMNS = 5


def main() -> None:
    events = _crop()
    rows = -(-len(TEXTS) // COLUMNS)
    figure = Figure(figsize=(1.9 * COLUMNS, 2.1 * rows), dpi=120, layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for panel, text in zip(panels, TEXTS, strict=False):
        rng = np.random.default_rng(SEED)
        _draw(panel, named(KINDS["sampling.augment"], text, NO_CODE)(events, rng) if text else events, text)
    for panel in panels[len(TEXTS) :]:
        panel.set_axis_off()
    figure.savefig(DOCS / "augmentations.png")


def _crop() -> Events:
    """Return a crop of a synthetic sign, upright as a picture is."""
    with TemporaryDirectory() as folder:
        write_dataset(Path(folder) / "source", 1, signers="similar")
        import_source(open_slanimals(Path(folder) / "source"), Path(folder) / "data")
        dataset = open_dataset(Path(folder) / "data")
        address, time_us = dataset.samples.events(SAMPLE)
        near = (time_us >= START_US - LENGTH_US) & (time_us < START_US + 2 * LENGTH_US)
        return Events(
            time_us[near].astype(np.int64) - START_US, address[near].copy(), dataset.manifest.sensor, LENGTH_US
        )


def _draw(panel: Axes, events: Events, text: str) -> None:
    """Draw events of the crop by polarity, the later the stronger, so that changes of time are seen as well."""
    inside = events[(events.t_us >= 0) & (events.t_us < events.length_us)]
    inside = inside[np.argsort(inside.t_us)]
    strength = 0.25 + 0.75 * inside.t_us[:, None] / events.length_us
    picture: NDArray[np.float64] = np.ones((*events.sensor, 3))
    picture[inside.y, inside.x] = 1 - strength * (1 - np.array([ON_COLOUR, OFF_COLOUR])[inside.p] / 255)
    panel.imshow(picture, origin="lower")
    name, _, amount = text.partition("(")
    panel.set_title(f"{name}\n{amount.rstrip(')')}" if text else "a crop\nas it is", fontsize=8)
    panel.set_xticks([])
    panel.set_yticks([])


if __name__ == "__main__":
    main()
