"""Whether a verb that trains only checks its arguments, because a job will do its work."""

from __future__ import annotations

from pathlib import Path

import click

CHECKED = "sltune.checked"
"""Key of click's meta; there where a verb only checks what a job will do later. The value is the run's folder."""


def is_only_checked() -> bool:
    """Say whether the verb that runs shall refuse what is wrong, and do no more: a job will do its work."""
    return CHECKED in click.get_current_context().meta


def note_checked(folder: Path) -> None:
    """Note that a verb has found nothing wrong, and in which folder the job will work."""
    click.get_current_context().meta[CHECKED] = folder
