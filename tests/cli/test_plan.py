"""The verb plan, on two runs of made-up signers."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from sltune.cli.main import main
from tests.report.writing.lab import SIGNERS, read_records, write_lab
from tests.written_runs import make_record, write_run


def plan(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["plan", *map(str, arguments)])


def test_two_runs_say_what_a_difference_needs(tmp_path: Path) -> None:
    runs = [write_lab(tmp_path, name, skill, seed) for name, skill, seed in (("a", 0.7, 1), ("b", 0.75, 2))]
    shown = plan(*runs, "--difference", 3)
    assert shown.exit_code == 0, shown.output
    assert f"pilot: {SIGNERS} signers, folds: 4, seeds: 3; differences of two configurations" in shown.output
    values = json.loads(plan(*runs, "--difference", 3, "--json").stdout)
    assert values["pilot"]["units"] == SIGNERS
    assert (values["pilot"]["seeds"], values["pilot"]["pairs"]) == (3, 1)
    assert f"power of this design for a difference of 3 points: {values['power']:.2f}" in shown.output
    seeds = values["needed"]["seeds"]
    # Samples are drawn independently: 2 · 19 · p (1 − p) / 19² is about 14² points², and there is nothing else.
    assert 12 < (values["pilot"]["std_points"]["units"] ** 2 + values["pilot"]["std_points"]["rest"] ** 2) ** 0.5 < 16
    low, high = seeds["interval95"]
    assert low is not None
    assert low <= (seeds["number"] or low)
    assert high is None or high >= (seeds["number"] or 101)
    large = json.loads(plan(*runs, "--difference", 10, "--json").stdout)
    assert large["power"] > values["power"]
    assert large["needed"]["seeds"]["number"] <= (seeds["number"] or 100)


def test_a_single_configuration_needs_several_seeds(tmp_path: Path) -> None:
    one = plan(write_lab(tmp_path, "a", 0.7, 1), "--difference", 3)
    assert one.exit_code == 0, one.output
    assert "one configuration, twice its variances" in one.output
    assert "cannot show how signers take to another" in one.output
    alone = plan(write_lab(tmp_path, "b", 0.7, 1, seeds=1), "--difference", 3)
    assert alone.exit_code == 2
    assert "a pilot needs two configurations on the same folds, or one with two seeds" in alone.output


def test_records_without_signers_are_no_pilot(tmp_path: Path) -> None:
    silent = write_run(tmp_path / "silent", [make_record(fold, 0.5) for fold in range(4)])
    refused = plan(silent, "--difference", 3)
    assert refused.exit_code == 2
    assert "records that say how often each signer was classed right" in refused.output
    assert len(read_records(silent)) == 4
