"""What was found about the trials of a configuration, in a sentence for each kind of finding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sltune.runs.health.findings import Finding
from sltune.runs.record import TrialKey


@dataclass(frozen=True)
class Remark:
    """A sentence for readers of a table, and whether it concerns a grave finding."""

    text: str
    is_grave: bool


def remarks(label: str, found: Mapping[TrialKey, Sequence[Finding]]) -> Iterator[Remark]:
    """Give a remark for each kind of finding, with the figures of the first trial that has it.

    Args:
        label: what the configuration is called. found: what was found about each trial that has a result.
    """
    kinds = defaultdict[str, list[tuple[TrialKey, Finding]]](list)
    for key in sorted(found):
        for finding in found[key]:
            kinds[finding.name].append((key, finding))
    several_seeds = len({key.seed for key in found}) > 1
    for pairs in kinds.values():
        key, finding = pairs[0]
        place = f"fold {key.fold} of seed {key.seed}" if several_seeds else f"fold {key.fold}"
        count = f"{len(pairs)} of {len(found)} trials, such as " if len(pairs) > 1 else ""
        yield Remark(f"{label}, {count}{place}: {finding.sentence}", finding.is_grave)
