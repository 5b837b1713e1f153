"""Cross-validated training and search for spiking networks on event-camera data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame

__version__ = "0.1.0"


def load_records(*runs: str | Path) -> DataFrame:
    """Return every trial of some run folders as a frame, a row a trial; see sltune.report.records.load_records."""
    from sltune.report import records

    return records.load_records(*runs)
