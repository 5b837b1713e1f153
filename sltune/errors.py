"""The exceptions that sltune raises on purpose; the command line turns each into its exit code."""

from __future__ import annotations

from collections.abc import Sequence


class SltuneError(Exception):
    """Base of every error that a user can meet; its text is all that the user sees."""

    exit_code = 1


class UsageError(SltuneError):
    """The command cannot mean anything: an unknown value, a folder in the way, resources that do not exist."""

    exit_code = 2


SHOWN_PROBLEMS, SHOWN_CHARACTERS = 100, 1000
"""Of a ConfigError, and of each: a value that is wrong may be a list of a megabyte."""


class ConfigError(UsageError):
    """A space file or override is wrong; carries every problem found, not only the first."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(map(_shortened, problems))
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = [f"  - {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > SHOWN_PROBLEMS:
            lines.append(f"  - and {len(self.problems) - SHOWN_PROBLEMS} more")
        super().__init__("\n".join([f"{source}: {count}", *lines]))


def _shortened(text: str) -> str:
    """Return a text without its middle where it is too long: what is wrong stands at the end."""
    half = SHOWN_CHARACTERS // 2
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:half]} … {text[-half:]}"


class DataError(SltuneError):
    """Recordings, tags or a sample store cannot be read; names the file and the place in it."""

    exit_code = 3


class SomeTrialsFailed(SltuneError):
    """At least one trial ended without a result, and at least one with."""

    exit_code = 4


class NothingRan(SltuneError):
    """Every trial failed, or none could start."""

    exit_code = 5


class Interrupted(SltuneError):
    """The user stopped the run; what is finished is kept."""

    exit_code = 130
