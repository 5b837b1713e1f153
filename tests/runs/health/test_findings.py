"""What speaks against a trial's figures, and that healthy trials are left alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from sltune.runs.health.findings import Finding, findings, findings_of_epoch, why_hopeless
from sltune.runs.health.remarks import remarks
from sltune.runs.record import DatasetInfo, Record, TrialKey
from tests.trials import record

TEN = DatasetInfo(name="ten", synthetic=True, fingerprint="f", classes=tuple("abcdefghij"))


def row(epoch: int, loss: float = 1.0, **more: float) -> dict[str, float]:
    return {"epoch": epoch, "val_loss": loss, **more}


def trial(confusion: Sequence[Sequence[int]] = (), best_epoch: int = 1, **facts: object) -> Record:
    """A trial with this confusion of its test part."""
    samples = sum(map(sum, confusion))
    right = sum(line[place] for place, line in enumerate(confusion))
    metrics = {"confusion": [list(line) for line in confusion], "best_epoch": best_epoch, "test_accuracy": 0.0}
    if samples:
        metrics["test_accuracy"] = right / samples
    return record("c0000-f0-s0", metrics=metrics, **facts)


def names(found: Sequence[Finding]) -> list[str]:
    return [finding.name for finding in found]


HEALTHY = [[10, 0], [0, 10]]


def test_layers_that_never_or_always_fire_in_the_epoch_that_is_tested_are_named() -> None:
    rates = {"firing_rate_input": 0.0, "firing_rate_fc1": 0.0, "firing_rate_fc2": 0.0, "firing_rate_conv1": 0.995}
    found = findings([row(1), row(2, 0.5, **rates), row(3)], trial(HEALTHY, best_epoch=2))
    assert names(found) == ["silent-layers", "saturated-layers"]
    assert found[0].text == "fc1, fc2 never fired in epoch 2 of 3, which is tested"
    assert 'network.init = "data"' in found[0].advice
    assert found[1].text.startswith("conv1 fired in nearly every time step")


def test_a_network_without_known_layers_has_no_findings_about_layers() -> None:
    rows = [row(1, 0.5, firing_rate_input=0.0), row(2, firing_rate_input=0.0)]
    assert findings(rows, trial(HEALTHY)) == []


def test_one_class_for_all_samples_is_named_and_makes_a_constant_loss_worth_saying() -> None:
    found = findings([row(1), row(2), row(3)], trial([[10, 0], [10, 0]]))
    assert [finding.text for finding in found] == [
        "the loss was 1 after each of 3 epochs",
        "all 20 test samples were taken for a",
    ]


def test_a_test_part_of_one_class_may_be_taken_for_that_class() -> None:
    assert findings([], trial([[0, 0], [0, 12]])) == []


def test_who_has_learned_all_may_have_a_constant_loss() -> None:
    assert findings([row(1, 0.01), row(2, 0.01)], trial(HEALTHY)) == []


@pytest.mark.parametrize(
    ("confusion", "share"),
    [
        # Of 8 with two classes, guessing gets at least 6 right in 37 of 256 tries, and at least 7 in 9 of 256.
        ([[3, 1], [1, 3]], "14%"),
        ([[4, 0], [1, 3]], ""),
        # Even all of 4 right are guessed in 1 of 16 tries, so that nothing can be told.
        ([[1, 1], [1, 1]], ""),
        # Who always names the frequent class is right in 16 of 20, or more, in 0.63 of all tries.
        ([[15, 1], [3, 1]], "63%"),
    ],
)
def test_accuracy_that_guessing_reaches_in_more_than_5_percent_of_all_tries(
    confusion: list[list[int]], share: str
) -> None:
    found = findings([], trial(confusion))
    assert names(found) == (["chance"] if share else [])
    assert all(share in finding.text for finding in found)


def test_of_networks_that_guess_nearly_all_are_found_and_of_others_none() -> None:
    """Ten classes, 100 test samples: guessing gets 16 or more right in 4 % of all tries."""
    rng = np.random.default_rng(0)

    def found(accuracy: float) -> int:
        count = 0
        for right in rng.binomial(10, accuracy, (300, 10)):
            table = np.diag(right)
            table[np.arange(10), (np.arange(10) + 1) % 10] = 10 - right
            count += bool(findings([], trial(table.tolist(), dataset=TEN)))
        return count

    assert found(0.1) >= 280
    assert found(0.35) == 0


def test_a_loss_that_still_falls_at_the_end_is_named_if_the_last_epoch_is_the_best() -> None:
    falling = [row(epoch, 1 / epoch) for epoch in range(1, 9)]
    (found,) = findings(falling, trial(HEALTHY, best_epoch=8))
    assert (found.name, found.is_grave) == ("not-converged", False)
    assert findings(falling, trial(HEALTHY, best_epoch=7)) == []
    assert findings(falling[:3], trial(HEALTHY, best_epoch=3)) == []


def test_curves_that_have_converged_are_seldom_called_falling() -> None:
    rng = np.random.default_rng(0)
    called = 0
    for _ in range(200):
        losses = 1 / np.minimum(np.arange(1, 41), 20) + 0.01 * rng.normal(size=40)
        rows = [row(epoch, loss) for epoch, loss in enumerate(losses.tolist(), start=1)]
        called += bool(findings(rows, trial(HEALTHY, best_epoch=int(losses.argmin()) + 1)))
    assert called <= 4


def parts(val: float, tested: Sequence[int], samples: int, val_subjects: int) -> Record:
    """A trial of which each test subject has so many samples, and as many right as given."""
    recordings = {
        f"r{number}": {"subject": f"s{number}", "session": "S", "samples": samples, "correct": int(correct)}
        for number, correct in enumerate(tested)
    }
    metrics = {
        "val_accuracy": val,
        "test_accuracy": sum(tested) / samples / len(tested),
        "recordings": recordings,
    }
    splits = {"train": [], "val": [f"v{number}" for number in range(val_subjects)], "test": list(recordings)}
    return record("c0000-f0-s0", metrics=metrics, splits=splits)


def test_validation_and_test_far_apart_are_named() -> None:
    found = findings([], parts(0.9, [4, 5, 3, 6, 4, 5, 4, 3, 5, 4], 19, 5))
    assert names(found) == ["parts-apart"]
    assert found[0].text.startswith("validation 90.0 %, test 22.6 %")
    assert findings([], parts(0.9, [4], 19, 5)) == []


def test_subjects_that_differ_do_not_make_parts_far_apart() -> None:
    """Each signer has an accuracy of its own, from a beta distribution; 15 are tested and 6 validated."""
    rng = np.random.default_rng(0)
    called = 0
    for _ in range(500):
        right = rng.binomial(19, rng.beta(4, 2, 21))
        called += bool(findings([], parts(right[15:].sum() / 19 / 6, right[:15].tolist(), 19, 6)))
    assert called <= 2


def test_warnings_of_a_running_trial_begin_with_its_second_epoch() -> None:
    silent = {"firing_rate_fc2": 0.0, "top_class_share": 1.0}
    assert findings_of_epoch(row(1, **silent)) == []
    assert names(findings_of_epoch(row(2, **silent))) == ["silent-layers", "one-class"]
    assert findings_of_epoch(row(2, firing_rate_fc2=0.1, top_class_share=0.5)) == []


def test_a_trial_is_hopeless_without_any_gradient_for_ten_epochs_if_it_takes_all_for_one_class() -> None:
    dead = {"epochs_without_gradient": 10, "top_class_share": 1.0, "firing_rate_fc1": 0.0, "firing_rate_fc2": 0.0}
    assert why_hopeless(row(5, **dead)) == (
        "silent: no weight had a gradient in 10 epochs, all samples are taken for one class, and fc1, fc2 never fired "
        "in epoch 5"
    )
    # At the end of a schedule, or when all is learned, there may be no gradient either.
    assert why_hopeless(row(5, **{**dead, "top_class_share": 0.5})) == ""
    assert why_hopeless(row(5, **{**dead, "epochs_without_gradient": 9})) == ""
    # Rows of earlier versions say neither.
    assert why_hopeless(row(5)) == ""


def test_a_trial_that_had_a_gradient_is_hopeless_after_thirty_epochs_since_momentum_moves_it_on() -> None:
    dead = {"top_class_share": 1.0, "firing_rate_fc2": 0.0}
    assert why_hopeless(row(10, epochs_without_gradient=10, **dead)).startswith(
        "silent: no weight had a gradient in 10"
    )
    assert why_hopeless(row(11, epochs_without_gradient=10, **dead)) == ""
    assert why_hopeless(row(50, epochs_without_gradient=29, **dead)) == ""
    assert why_hopeless(row(50, epochs_without_gradient=30, **dead)).startswith(
        "silent: no weight had a gradient in 30"
    )


def test_of_500_curves_that_look_dead_and_bloom_later_none_is_hopeless() -> None:
    """Silent for up to 100 epochs, with a constant loss and one class, while single batches have a gradient."""
    rng = np.random.default_rng(0)
    lost = 0
    for _ in range(500):
        without, blooms = 0, rng.integers(1, 101)
        for epoch in range(1, 121):
            is_awake = epoch > blooms
            # Random crops may leave nine epochs in a row without any.
            without = 0 if is_awake or without == 9 or rng.random() < 0.2 else without + 1
            share = 0.6 if is_awake else 1.0
            more = {"top_class_share": share, "epochs_without_gradient": without, "firing_rate_fc2": 0.1 * is_awake}
            lost += bool(why_hopeless(row(epoch, **more)))
    assert lost == 0


def test_a_kind_of_finding_is_said_once_with_the_first_trial_that_has_it() -> None:
    silent, slow = Finding("silent-layers", "fc2 never fired", "try this"), Finding("not-converged", "falls", "", False)
    found = {TrialKey("c0000", 0, fold): [silent] if fold else [silent, slow] for fold in range(3)}
    assert [(remark.text, remark.is_grave) for remark in remarks("run/c0000", found)] == [
        ("run/c0000, 3 of 3 trials, such as fold 0: fc2 never fired; try this", True),
        ("run/c0000, fold 0: falls", False),
    ]
