"""The journal of a search as optuna-dashboard shows it: a real server, asked over HTTP."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.tuning.clusters import SCRIPTS, free_port, wait_for
from tests.tuning.searches import run, search, space, trials

pytestmark = pytest.mark.processes

Ask = Callable[[str], Any]


@contextmanager
def dashboard(journal: Path) -> Iterator[Ask]:
    """Serve a journal, as a user would; gives what asks the server's interface for JSON."""
    port = free_port()
    command = [str(SCRIPTS / "optuna-dashboard"), str(journal), "--port", str(port), "--server", "wsgiref"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def ask(path: str) -> Any:
        with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=60) as answer:
            return json.load(answer)

    def answers() -> bool:
        with suppress(URLError, ConnectionError):
            return bool(ask("api/meta"))
        return False

    try:
        wait_for(answers, process)
        yield ask
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_the_dashboard_shows_a_search_with_the_value_of_every_fold(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trials = 12\nstrategy = 'prune'"))
    run(campaign)
    journal, known = campaign.folder.study_journal, trials(campaign)
    before = journal.read_bytes()
    with dashboard(journal) as ask:
        (study,) = ask("api/studies")["study_summaries"]
        shown = ask(f"api/studies/{study['study_id']}?after=0")["trials"]
    assert study["study_name"] == "hills"
    assert study["directions"] == ["maximize"]
    assert len(shown) == len(known) == 12
    states = set()
    for trial, ours in zip(shown, known, strict=True):
        states.add(trial["state"])
        assert (trial["number"], trial["state"].upper()) == (ours.number, ours.state.name)
        assert {param["name"] for param in trial["params"]} == {"neuron.decay", "neuron.v_threshold"}
        folds = {value["step"]: value["value"] for value in trial["intermediate_values"]}
        records = campaign.candidates[f"c{trial['number']:04d}"].records.values()
        accuracies = {one.fold: one.metrics.val_accuracy for one in records if one.status == "done"}
        assert folds == pytest.approx(accuracies)
        if trial["state"] == "Complete":
            assert trial["values"] == pytest.approx([sum(accuracies.values()) / 4])
    # Some were given up, of which the first folds are there.
    assert states == {"Complete", "Pruned"}
    assert journal.read_bytes() == before
