"""Cross-validated training and search for spiking networks on event-camera data."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sltune import errors

if TYPE_CHECKING:
    from sltune.api.datasets import Dataset, open_dataset
    from sltune.api.exporting import read_nir, write_nir
    from sltune.api.importing import import_recordings
    from sltune.api.jobs import evaluate, resume, tune
    from sltune.api.runs import Run, compare, open_run
    from sltune.api.spaces import load_space
    from sltune.report.records import load_records
    from sltune.settings.space import Space

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "Run",
    "Space",
    "compare",
    "errors",
    "evaluate",
    "import_recordings",
    "load_records",
    "load_space",
    "open_dataset",
    "open_run",
    "read_nir",
    "resume",
    "tune",
    "write_nir",
]
_HOMES = {
    "sltune.api.datasets": ("Dataset", "open_dataset"),
    "sltune.api.exporting": ("read_nir", "write_nir"),
    "sltune.api.importing": ("import_recordings",),
    "sltune.api.jobs": ("evaluate", "resume", "tune"),
    "sltune.api.runs": ("Run", "compare", "open_run"),
    "sltune.api.spaces": ("load_space",),
    "sltune.report.records": ("load_records",),
    "sltune.settings.space": ("Space",),
}
"""Where each name of the API is; modules are imported when a name is first used, as torch and Ray take seconds."""


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'sltune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
