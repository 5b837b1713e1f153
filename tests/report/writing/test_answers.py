"""The eight questions of a reader, each answered in 24 lines, with numbers that are computed here anew."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median, stdev

import pytest
from click.testing import CliRunner
from scipy import stats

from sltune.cli.main import main
from tests.report.writing.lab import read_records, write_lab
from tests.written_runs import Spec, make_record, write_run


def answers_of(*arguments: object) -> dict[str, str]:
    """Return each answer by its word, on one line."""
    result = CliRunner().invoke(main, ["report", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) <= 24, result.stdout
    assert max(len(line) for line in lines if not line.startswith("  sltune")) <= 80
    text = result.stdout.replace("\n  ", " ")
    return dict(re.findall(r"^- (\w+): (.*)$", text, re.MULTILINE))


def percents(run: Path) -> dict[tuple[int, int], float]:
    return {(one["seed"], one["fold"]): 100 * one["metrics"]["test_accuracy"] for one in read_records(run)}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("lab")
    return write_lab(folder, "crops", 0.75, seed=1), write_lab(folder, "paper", 0.6, seed=2)


def test_which_is_best_and_by_how_much(lab: tuple[Path, Path]) -> None:
    found = answers_of(*lab)
    ours, others = (percents(run) for run in lab)
    assert f"crops/c0000: {mean(ours.values()):.2f} ± {stdev(ours.values()):.2f} % test accuracy" in found["Best"]
    assert "n 12 of 12: 4 folds, 3 seeds); highest test mean of 2, so optimistic" in found["Best"]
    assert found["Better"].startswith("yes: crops/c0000 against paper/c0000")
    difference = mean(ours.values()) - mean(others.values())
    assert found["By"].startswith(f"{difference:+.2f} points")
    assert f"({mean(ours.values()):.2f} % against {mean(others.values()):.2f} %)" in found["By"]


def test_against_baselines_and_published_results(lab: tuple[Path, Path]) -> None:
    found = answers_of(*lab)
    ours = mean(percents(lab[0]).values())
    nearest = 100 * 5 / 19
    assert f"chance {100 / 19:.2f} %, nearest neighbour {nearest:.2f} %, majority 5.26 %" in found["Baseline"]
    assert f"{ours - nearest:+.2f} points to nearest neighbour" in found["Baseline"]
    # The highest with four folds that, like ours, does not select the epoch on the test set.
    assert found["Published"] == f"{ours - 87.6:+.2f} points to SEW-type net, 87.60 ± 1.50 % (same split and protocol)"


def test_what_it_costs(lab: tuple[Path, Path]) -> None:
    cost = answers_of(*lab)["Cost"]
    assert "4 M synaptic ops a sample" in cost
    assert "2 k spikes a sample" in cost
    assert "1.5 min a training" in cost


def test_costs_that_are_counted_by_connections_take_the_place_of_the_earlier_count(tmp_path: Path) -> None:
    counted = {"parameters": 123456, "effective_macs": 1e5, "effective_acs": 2.5e6, "energy_joules": 3.2e-6}
    cost = answers_of(write_lab(tmp_path, "counted", 0.7, **counted))["Cost"]
    assert cost.startswith("123.5 k parameters; 0.1 M MACs a sample; 2.5 M ACs a sample; ")
    assert "3.2 µJ energy a sample" in cost
    assert "synaptic ops" not in cost


def test_which_signers_fail(lab: tuple[Path, Path]) -> None:
    right = defaultdict[str, list[float]](list)
    for one in read_records(lab[0]):
        for tested in one["metrics"]["recordings"].values():
            right[tested["subject"]].append(100 * tested["correct"] / tested["samples"])
    shares = {signer: mean(found) for signer, found in right.items()}
    worst = sorted(shares, key=lambda signer: (round(shares[signer], 9), signer))[:3]
    middle = median(shares.values())
    said = answers_of(*lab)["Signers"]
    assert said.startswith(f"lowest {', '.join(f'{signer} {shares[signer]:.1f} %' for signer in worst)}; ")
    below = sum(share < middle - 20 for share in shares.values())
    assert said.endswith(f"median {middle:.1f} % of 24, {below} more than 20 points below it")


def test_one_method_is_compared_with_the_best_classifier_without_a_network(lab: tuple[Path, Path]) -> None:
    found = answers_of(lab[0])
    assert found["Better"].startswith("yes: crops/c0000 against nearest neighbour")
    assert found["By"].startswith(f"{mean(percents(lab[0]).values()) - 100 * 5 / 19:+.2f} points")


def test_a_named_baseline_is_what_the_best_is_compared_with(lab: tuple[Path, Path]) -> None:
    third = write_lab(lab[0].parent, "third", 0.7, seed=3)
    assert "against third/c0000" in answers_of(*lab, third)["Better"]
    assert "against paper/c0000" in answers_of(*lab, third, "--baseline", "paper")["Better"]


def test_real_recordings_stand_beside_no_synthetic_data(tmp_path: Path) -> None:
    run = write_lab(tmp_path, "simulated", 0.7, dataset={"synthetic": True})
    found = answers_of(run)
    assert found["Published"] == "none: real recordings do not compare with synthetic data"
    assert "SEW" not in "".join(found.values())


def test_how_sure_it_is_over_signers_and_trainings(lab: tuple[Path, Path]) -> None:
    """Clustered both ways, computed by another implementation; every signer has as many samples."""
    signers, trainings, differences = [], [], []
    for ours, other in zip(*map(read_records, lab), strict=True):
        assert (ours["seed"], ours["fold"]) == (other["seed"], other["fold"])
        for name, one in ours["metrics"]["recordings"].items():
            signers.append(one["subject"])
            trainings.append((ours["seed"], ours["fold"]))
            differences.append(100 * (one["correct"] - other["metrics"]["recordings"][name]["correct"]) / 19)
    centre = mean(differences)

    def clustered(keys: Sequence[object]) -> float:
        sums = defaultdict[object, float](float)
        for key, value in zip(keys, differences, strict=True):
            sums[key] += (value - centre) / len(differences)
        return len(sums) / (len(sums) - 1) * sum(one**2 for one in sums.values())

    parts = clustered(signers), clustered(trainings)
    error = max(*parts, sum(parts) - clustered(range(len(differences)))) ** 0.5
    reach = stats.t.ppf(0.975, 11) * error
    found = answers_of(*lab)
    assert found["Sure"].startswith(f"95 % interval {centre - reach:+.2f} to {centre + reach:+.2f} points; ")
    assert f"P(better by > 1) {stats.t.sf((1 - centre) / error, 11):.2f}" in found["Sure"]
    assert found["Sure"].endswith("24 signers and 12 trainings, for new signers and new trainings")
    margin = answers_of(*lab, "--equivalence", centre)["Sure"]
    assert f"P(better by > {centre:g}) 0.50" in margin


def test_a_run_without_baselines_is_compared_with_chance(tmp_path: Path) -> None:
    run = write_lab(tmp_path, "alone", 0.7)
    (run / "baselines.json").unlink()
    found = answers_of(run)
    assert found["Better"].startswith("yes: nothing but chance, 5.26 %, to compare it with, 95 % interval")
    assert found["By"] == f"{mean(percents(run).values()) - 100 / 19:+.2f} points to chance"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seeds": 1}, r"more seeds, as so few cannot .*: sltune resume one --seeds 0,1,2"),
        ({}, r"write it up: sltune report one --style paper"),
        ({"dataset": {"synthetic": True}}, r"the same on real recordings: sltune import RECORDINGS --out DATA"),
    ],
)
def test_what_to_run_next(change: Spec, said: str, tmp_path: Path) -> None:
    run = write_lab(tmp_path, "one", 0.7, **change)
    assert re.fullmatch(said, answers_of(run)["Next"])


def test_what_has_no_result_is_said_in_place_of_answers(tmp_path: Path) -> None:
    run = write_lab(tmp_path, "one", 0.7, status="failed")
    said = " ".join(CliRunner().invoke(main, ["report", str(run)]).stdout.split())
    assert "No trial has a result. - Incomplete: one/c0000: 0 of 12 trials" in said


def test_where_no_difference_is_shown_a_plan_says_what_would_show_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [write_lab(tmp_path, name, 0.7, seed=seed) for name, seed in (("a", 1), ("b", 2))]
    found = answers_of(*runs)
    assert found["Better"].startswith("not shown: ")
    said, command = found["Next"].rsplit(": ", 1)
    assert said == "no difference is shown; how many seeds, folds or signers would show one of 3 points"
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, command.split()[1:])
    assert (result.exit_code, "power" in result.stdout) == (0, True), result.output


def test_trials_that_are_left_come_first(tmp_path: Path) -> None:
    run = write_lab(tmp_path, "one", 0.7)
    (run / "trials" / "c0000-f1-s2" / "record.json").unlink()
    found = answers_of(run)
    assert found["Next"] == "trials left: 1: sltune resume one"
    assert "n 11 of 12" in found["Best"]


def test_long_names_leave_the_answers_on_the_screen(tmp_path: Path) -> None:
    names = ["a-very-long-name-of-a-run-that-somebody-has-given-" + end * 60 for end in "xy"]
    runs = [write_lab(tmp_path, name, 0.6 + place / 5, seed=place) for place, name in enumerate(names)]
    assert len(answers_of(*runs)) == 9


def test_data_without_signers_tell_how_many_samples_fail(tmp_path: Path) -> None:
    """Eight samples, one a fold right and one wrong; each is a subject of its own."""
    records = []
    for fold in range(4):
        names = [f"{fold}-{number}" for number in range(2)]
        tested = {name: {"subject": name, "session": "S1", "samples": 1, "correct": n} for n, name in enumerate(names)}
        splits = {"train": [f"other-{fold}"], "val": [], "test": names}
        records.append(
            make_record(fold, 0.5, run="digits", recordings=tested, splits=splits, confusion=[[1, 0], [1, 0]])
        )
    found = answers_of(write_run(tmp_path / "digits", records))
    assert found["Samples"] == "4 of 8; the data name no signers"
    assert "Signers" not in found
