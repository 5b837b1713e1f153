"""A configuration of an earlier run, taken up as the space of another one."""

from __future__ import annotations

from sltune.errors import UsageError
from sltune.runs.folder import RunFolder
from sltune.runs.info import read_info
from sltune.runs.places import copied_code
from sltune.runs.record import latest_of
from sltune.settings.space import Space, load_space


def configuration_of(folder: RunFolder, trial: str = "") -> Space:
    """Return a configuration of a run as a space: that of a trial such as c0012 or c0012-f0-s0, or the best one.

    Raises:
        UsageError: the run has no such configuration yet.
        DataError: the folder is no run folder, or its copy of the user's code is not what the run began with.
    """
    info = read_info(folder)
    copied_code(folder.code, info.code)
    best = info.best
    if info.is_nested and "-" not in trial:
        text = "is a nested search, in which each outer fold has chosen a configuration of its own"
        raise UsageError(f"{folder.root}: {text}; name one of its trials: {folder.root}/c0000-f0-s0")
    # best.toml does not say where weights lie, the records of the best configuration do.
    wanted = trial or best
    found = [record for record in folder.records() if wanted in (record.config_id, record.key.name)]
    if found:
        return Space.of(latest_of(found).configuration())
    if trial:
        raise UsageError(f"{folder.root}: has no record of {trial}")
    space = load_space(folder.best_toml if folder.best_toml.exists() else folder.space_toml)
    if space.domains:
        known = next((f"; name one: {folder.root}/{record.config_id}" for record in folder.records()), "")
        raise UsageError(f"{folder.root}: its search has no best configuration yet{known}")
    return space
