from __future__ import annotations

from typing import get_args

import pytest

from sltune.errors import ConfigError
from sltune.extensions.code import FORMS
from sltune.runs.metrics import METRICS
from sltune.settings.search import completed_search
from sltune.settings.space import parse_space
from sltune.settings.types import Cost, Limit

DOMAINS = """
[sampling]
train_crop = { choices = ["start", "random"] }
eval_crop_ms = { low = 300, high = 4350, when = { "sampling.train_crop" = "random" } }
[neuron]
decay = { low = 0.1, high = 0.9, step = 0.2 }
"""


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_space(DOMAINS + text, "x.toml")
    return caught.value.problems


def test_defaults_are_those_of_the_design() -> None:
    assert completed_search({}).model_dump(mode="json") == {
        "strategy": "promote",
        "trainings": 240,
        "trials": 0,
        "finalists": 3,
        "lag": 0,
        "sampler": "tpe",
        "seed": 0,
        "objectives": ["val_accuracy"],
        "constraints": {},
        "aggregate": "mean",
        "std_weight": 1.0,
        "max_hours": 0,
        "max_device_hours": 0,
        "fold_pruner": "none",
        "epoch_pruner": "none",
    }


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("trials = -1", "a whole number from 0 to 1000000000"),
        ("finalists = 0", "a whole number from 1 to 1000000000"),
        ('strategy = "race"', 'one of "promote", "prune", "full"'),
        ('sampler = "annealing"', 'one of "tpe", "random", "grid", "cmaes", "gp", or a sampler of yours, ' + FORMS),
        (
            'objectives = ["test_accuracy"]',
            f'a list of "val_accuracy" and one of {", ".join(get_args(Cost))}; did you mean "val_accuracy"?',
        ),
        ("objectives = []", f'a list of "val_accuracy" and one of {", ".join(get_args(Cost))}'),
        (
            "constraints = { max_ops = 1 }",
            f"a table in which numbers > 0 may stand for {', '.join(get_args(Limit))}",
        ),
        ('aggregate = "sum"', 'one of "mean", "mean-std"'),
        ("std_weight = -1", "a number from 0 to 1e+38"),
        ("max_hours = -1", "a number from 0 to 1e+38"),
        ('fold_pruner = "wilcoxon"', 'one of "median", "paired-t", "none"'),
        ('epoch_pruner = "asha"', 'one of "none", "median", "halving", or a pruner of yours, ' + FORMS),
    ],
)
def test_a_wrong_setting_of_the_search_is_refused(line: str, allowed: str) -> None:
    (problem,) = problems_of(f"[search]\n{line}")
    assert problem.startswith("search.")
    assert problem.endswith(f": must be {allowed}")


def test_a_grid_over_a_continuous_range_is_refused() -> None:
    text = '[training]\nlearning_rate = { low = 1e-4, high = 1e-2 }\n[search]\nsampler = "grid"'
    assert problems_of(text) == (
        "training.learning_rate = { low = 0.0001, high = 0.01 }: a grid needs a step, or choices",
    )


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        ("neuron.decay = 0.4", "is not among the values searched, { low = 0.1, high = 0.9, step = 0.2 }"),
        ("neuron.decay = 2", "must be a number ≥ 0 and ≤ 1"),
        ("neuron.dcay = 0.3", 'unknown key; did you mean "neuron.decay"?'),
        ("training.epochs = 3", "is not searched; drop it here, or search training.epochs"),
    ],
)
def test_a_first_configuration_must_lie_in_the_space(first: str, problem: str) -> None:
    assert problems_of(f"[[search.first]]\n[[search.first]]\n{first}") == (
        f"search.first, table 2: {first}: {problem}",
    )


def test_a_first_configuration_holds_nothing_that_would_be_ignored() -> None:
    text = '[[search.first]]\nsampling.train_crop = "start"\nsampling.eval_crop_ms = 600'
    assert problems_of(text) == (
        'search.first, table 1: sampling.eval_crop_ms is searched only when { "sampling.train_crop" = "random" }; '
        "drop it here",
    )


@pytest.mark.parametrize("value", ["3", "[1]"])
def test_first_configurations_must_be_tables(value: str) -> None:
    assert problems_of(f"[search]\nfirst = {value}") == (
        f"search.first = {value}: must be a list of tables, [[search.first]]",
    )


def test_a_wrong_domain_is_not_reported_again_for_a_first_configuration() -> None:
    text = "[training]\nlearning_rate = { low = 1 }\n[[search.first]]\ntraining.learning_rate = 1"
    (problem,) = problems_of(text)
    assert problem.startswith("training.learning_rate = { low = 1 }")


def problem_of(*lines: str) -> str:
    (problem,) = problems_of("\n".join(["[search]", *lines]))
    return problem


def test_with_several_objectives_nothing_is_pruned_unless_asked_for_which_is_an_error() -> None:
    both = 'objectives = ["val_accuracy", "synaptic_ops"]'
    space = parse_space(f"{DOMAINS}[search]\n{both}", "x.toml")
    assert space.search is not None
    assert (space.search.fold_pruner, space.search.epoch_pruner) == ("none", "none")
    assert problem_of(both, 'fold_pruner = "median"').startswith('search.fold_pruner = "median": compares means')
    assert problem_of(both, 'epoch_pruner = "halving"').startswith('search.epoch_pruner = "halving": compares means')
    assert problem_of(both, 'sampler = "cmaes"').startswith('search.sampler = "cmaes": has one objective only')
    assert problem_of(both, 'aggregate = "mean-std"').startswith('search.aggregate = "mean-std": is for one')


def test_a_search_for_the_cheapest_network_alone_is_refused() -> None:
    assert "a silent network is cheapest" in problem_of('objectives = ["synaptic_ops"]')


@pytest.mark.parametrize("names", ['"effective_acs", "effective_macs"', '"val_accuracy", "latency_ms", "parameters"'])
def test_a_search_for_two_costs_at_once_is_refused(names: str) -> None:
    assert 'has one cost beside "val_accuracy"' in problem_of(f"objectives = [{names}]")


def test_every_cost_is_a_metric_and_has_a_limit_on_its_worse_side() -> None:
    for cost, limit in zip(get_args(Cost), get_args(Limit), strict=True):
        assert limit == f"{'max' if METRICS[cost].better == 'low' else 'min'}_{cost}"


FIRST = """
[search]
[[search.first]]
sampling = { train_crop = "random", eval_crop_ms = 900 }
neuron = { decay = 0.3 }
"""


def test_overrides_win_over_configurations_to_try_first() -> None:
    space = parse_space(DOMAINS + FIRST, "x.toml", ["neuron.decay=0.5"])
    assert space.first == ({"sampling.train_crop": "random", "sampling.eval_crop_ms": 900},)
    assert space.settings["neuron.decay"] == 0.5
    (problem,) = problems_of(FIRST.replace("decay = 0.3", "v_threshold = 0.3"))
    assert "neuron.v_threshold = 0.3: is not searched" in problem


def test_a_grid_refuses_configurations_to_try_first_with_gaps() -> None:
    grid = FIRST.replace("[search]", "[search]\nsampler = 'grid'").replace(", eval_crop_ms = 900", "")
    assert problems_of(grid) == ("search.first, table 1: sampling.eval_crop_ms is missing; a grid draws no values",)


def test_a_grid_that_nobody_can_finish_is_refused_before_it_is_listed() -> None:
    grid = "[training]\nbatch_size = { low = 1, high = 1000000000 }\n[search]\nsampler = 'grid'\n"
    (problem,) = problems_of(grid)
    # 2 crops × 4051 lengths × 5 decays × 10⁹ batch sizes.
    points = 2 * 4051 * 5 * 10**9
    assert problem == f'search.sampler = "grid": has {points:,} points, 1,000,000 are allowed; take larger steps'


def test_a_configuration_to_try_first_is_the_point_that_is_meant() -> None:
    space = parse_space(DOMAINS + "[[search.first]]\nneuron.decay = 0.30000000000000004\n", "x.toml")
    assert space.first == ({"neuron.decay": 0.3},)


@pytest.mark.parametrize(
    ("lines", "strategy", "pruner", "budget"),
    [
        ("", "promote", "none", (240, 0)),
        ("trials = 60", "promote", "none", (0, 60)),
        ("trainings = 96", "promote", "none", (96, 0)),
        ('strategy = "prune"', "prune", "median", (0, 100)),
        ('strategy = "full"\ntrainings = 96', "full", "none", (96, 0)),
        # Files of versions that had no strategies name a fold pruner.
        ('fold_pruner = "median"', "prune", "median", (0, 100)),
        ('fold_pruner = "paired-t"\ntrials = 7', "prune", "paired-t", (0, 7)),
        ('fold_pruner = "none"', "full", "none", (0, 100)),
    ],
)
def test_what_is_left_open_follows_from_the_rest(
    lines: str, strategy: str, pruner: str, budget: tuple[int, int]
) -> None:
    search = parse_space(f"{DOMAINS}[search]\n{lines}", "x.toml").required_search()
    assert (search.strategy, search.fold_pruner) == (strategy, pruner)
    assert (search.trainings, search.trials) == budget


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("trials = 0", "search.trials = 0 and search.trainings = 0: set one of them above 0"),
        ("trainings = 3", "search.trainings = 3: one configuration alone takes 4, for its folds and seeds"),
        (
            'strategy = "promote"\nfold_pruner = "median"',
            'fold_pruner = "median": does not go with strategy = "promote"',
        ),
        ('strategy = "prune"\nfold_pruner = "none"', 'fold_pruner = "none": does not go with strategy = "prune"'),
        ('strategy = "full"\nlag = 2', 'search.lag = 2: is for strategy "promote" only'),
        ('epoch_pruner = "median"\nlag = 2', "search.lag = 2: epoch_pruner gives up trainings as results come"),
    ],
)
def test_a_budget_or_strategy_that_contradicts_the_rest_is_refused(lines: str, problem: str) -> None:
    (found,) = problems_of(f"[search]\n{lines}")
    assert problem in found
