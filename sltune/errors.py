"""The exceptions that sltune raises on purpose; the command line ends with the exit code of each."""

from __future__ import annotations

from collections.abc import Sequence

from sltune.wording import first_of, shortened


class SltuneError(Exception):
    """Base of every error that a user can meet; the user sees its text only."""

    exit_code = 1


class UsageError(SltuneError):
    """The command cannot be carried out as it is: an unknown value, a folder in the way, missing resources."""

    exit_code = 2


MAX_PROBLEMS = 100
"""A file of thousands of lines may have a problem in each; nobody mends so many at once."""
MAX_PROBLEM_LENGTH = 1000
"""A value that is wrong may be a list of a megabyte."""


class ConfigError(UsageError):
    """A space file or override is wrong; holds every problem that was found, not only the first."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(shortened(problem, MAX_PROBLEM_LENGTH) for problem in problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = (f"  - {problem}" for problem in first_of(self.problems, MAX_PROBLEMS))
        super().__init__("\n".join([f"{source}: {count}", *lines]))


class CodeError(UsageError):
    """A user's own code cannot be found, imported or called as it is to be; names their file and line."""


class DataError(SltuneError):
    """Recordings, tags or a sample store cannot be read; names the file and the place in it."""

    exit_code = 3


class SomeTrialsFailed(SltuneError):
    """Some trials ended without a result, but not all."""

    exit_code = 4


class NothingRan(SltuneError):
    """Every trial failed, or none could start."""

    exit_code = 5


class BrokenNetwork(SltuneError):
    """A network has a mistake that must be mended before it trains."""

    exit_code = 6


class InUse(UsageError):
    """Another process works on the same run or dataset; once it has ended, the same command can be carried out."""

    exit_code = 7


class BrokenSetup(SltuneError):
    """Something on the machine, or in its cluster, would keep a run from working."""

    exit_code = 8


class Interrupted(SltuneError):
    """The user stopped the run; finished trials are kept."""

    exit_code = 130
