"""Sessions of a space are those of its dataset, by any names."""

from __future__ import annotations

import pytest

from sltune.errors import DataError
from sltune.events.samples import RecordingInfo
from sltune.events.splits.split import bound
from sltune.settings.space import Space, parse_space

OWN = [RecordingInfo(f"r{number}", f"p{number}", ("at noon", "dusk", "")[number % 3]) for number in range(6)]
WITHOUT = [RecordingInfo(f"r{number}", f"p{number}", "") for number in range(6)]


def space(sessions: str = "") -> Space:
    return parse_space("[evaluation]\nfolds = 2\n" + (f"sessions = {sessions}\n" if sessions else ""), "space.toml")


def test_all_sessions_are_those_that_the_dataset_has() -> None:
    assert bound(space(), OWN).evaluation.sessions == ("at noon", "dusk")
    assert bound(space('"all"'), OWN).to_toml() == bound(space('["at noon", "dusk"]'), OWN).to_toml()


def test_a_dataset_without_sessions_is_used_whole() -> None:
    assert bound(space(), WITHOUT).evaluation.sessions == "all"
    # Runs of earlier versions name these four for every dataset.
    earlier = space('["S1", "S2", "S3", "S4"]')
    assert bound(earlier, WITHOUT).to_toml() == earlier.to_toml()


def test_some_sessions_stay_a_choice() -> None:
    assert bound(space('["dusk"]'), OWN).evaluation.sessions == ("dusk",)


@pytest.mark.parametrize(
    ("sessions", "recordings", "said"),
    [
        ('["dusk", "dawn"]', OWN, "no recording of the sessions dawn; the dataset has: at noon, dusk"),
        (
            '["S1", "S2", "S3", "S4"]',
            OWN,
            "the sessions S1, S2, S3, S4; the dataset has: at noon, dusk",
        ),
        ('["dusk"]', WITHOUT, "no recording of the sessions dusk; the dataset has: none"),
    ],
)
def test_a_session_that_is_not_there_is_refused_with_those_that_are(
    sessions: str, recordings: list[RecordingInfo], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        bound(space(sessions), recordings)
