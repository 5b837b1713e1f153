from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sltune.errors import ConfigError
from sltune.settings.predecessor import convert_network_yaml
from sltune.settings.space import load_space, parse_space

PREDECESSORS_OWN = """
Simulation:
    steps: 50
    dt: 30
    a1: 0.5
    Vth: 0.3
    tau: 0.3
Training:
    cuda: True
    seed: 0
    batch: 8
    tst_batch: 32
    epochs: 400
    optimizer: ADAM
    lr: 0.001
    momentum: 0.9
    load_model: False
    bin_mode: OR
    random_crop: False
Path:
    data: ../data/
    file_list: ../data/filelist.txt
    weights: weights/
    logs: logs/
    out: output/
Testing:
    steps: 145
"""


def settings_of(text: str) -> dict[str, object]:
    space, *_ = convert_network_yaml(text, "network.yaml")
    return dict(parse_space(space, "converted").configuration().settings())


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        convert_network_yaml(text, "network.yaml")
    assert caught.value.source == "network.yaml"
    return caught.value.problems


def test_the_predecessors_own_file_is_paper_toml() -> None:
    paper = load_space(Path(__file__).parents[2] / "search_spaces" / "paper.toml")
    # Its list of recordings is of all sessions, whatever a dataset has.
    assert settings_of(PREDECESSORS_OWN) == {**paper.settings, "evaluation.sessions": ("S1", "S2", "S3", "S4")}


def test_what_is_missing_is_as_in_the_predecessors_own_file() -> None:
    assert settings_of("Simulation:\nTraining: {}\n") == settings_of(PREDECESSORS_OWN)


def test_what_a_space_file_does_not_hold_is_listed() -> None:
    assert convert_network_yaml(PREDECESSORS_OWN, "network.yaml")[1] == [
        "Training.cuda = true: choose the device by --device",
        'Path.data = "../data/": import the dataset and name it by --data',
        'Path.weights = "weights/": weights go to the run folder, see --results',
        'Path.logs = "logs/": TensorBoard files go to the run folder, see --results',
        'Path.out = "output/": reports go to the run folder, see --results',
        "Testing.steps = 145: counts only where random_crop is true, and it is false",
    ]


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("Simulation: { steps: 17, dt: 20 }", "sampling.train_crop_ms", 340),
        ("Simulation: { a1: 1 }", "neuron.surrogate_width", 1.0),
        ("Simulation: { Vth: 5e-1 }", "neuron.v_threshold", 0.5),
        ("Simulation: { tau: 0.2 }", "neuron.decay", 0.2),
        ("Training: { seed: 7 }", "evaluation.seeds", (7,)),
        ("Training: { batch: 4 }", "training.batch_size", 4),
        ("Training: { tst_batch: 4 }", "training.eval_batch_size", 4),
        ("Training: { epochs: 4 }", "training.epochs", 4),
        ("Training: { optimizer: SGD }", "training.optimizer", "sgd"),
        ("Training: { momentum: 0.5 }", "training.momentum", 0.5),
        ("Training: { bin_mode: SUM }", "sampling.binning", "count"),
        ("Training: { bin_mode: SUM_NORM }", "sampling.binning", "normalized"),
        ("Path: { file_list: ../data/filelist_excludingS3.txt }", "evaluation.sessions", ("S1", "S2", "S4")),
    ],
)
def test_each_key_finds_its_setting(text: str, key: str, value: object) -> None:
    assert settings_of(text)[key] == value


def test_a_number_that_yaml_takes_for_a_string_is_a_number() -> None:
    assert settings_of("Training: { lr: 1e-3 }")["training.learning_rate"] == 0.001


def test_random_crops_are_drawn_as_before_and_evaluated_on_the_steps_of_testing() -> None:
    settings = settings_of("Simulation: { steps: 17 }\nTraining: { random_crop: True }\nTesting: { steps: 100 }")
    crops = [settings[f"sampling.{key}"] for key in ("train_crop", "train_crop_ms", "eval_crop_ms")]
    assert crops == ["random-predecessor", 510, 3000]
    assert settings_of("Training: { random_crop: True }")["sampling.eval_crop_ms"] == 4350


def test_the_space_file_explains_what_is_not_obvious() -> None:
    space, *_ = convert_network_yaml("Training: { random_crop: True }", "/somewhere/my\nnetwork.yaml")
    assert space.startswith('# Converted from "my\\nnetwork.yaml".\n')
    assert "shuffle = false  # the predecessor keeps the order of the recordings" in space
    assert 'train_crop = "random-predecessor"  # never draws the last possible start' in space


@pytest.mark.parametrize(
    ("text", "item"),
    [
        (
            "Testing: { step: 4 }",
            'Testing.step = 4: unknown key; did you mean "steps"?; known keys: steps',
        ),
        (
            "Trainin: { lr: 4 }\nTesting:",
            'Trainin.lr = 4: unknown key; did you mean "Training"?; '
            "known sections: Simulation, Training, Path, Testing",
        ),
        (
            "comment: mine\nTesting:",
            'comment = "mine": unknown key; known sections: Simulation, Training, Path, Testing',
        ),
        (
            "Training: { load_model: True }",
            "Training.load_model = true: name the weights in network.weights, "
            'such as "weights/model_weights_fold{fold1}.pt"',
        ),
    ],
)
def test_what_cannot_be_carried_over_is_named(text: str, item: str) -> None:
    assert convert_network_yaml(text, "network.yaml")[1] == [item]


def test_all_values_that_mean_nothing_are_reported_at_once() -> None:
    text = """
        Simulation: { dt: 1.5, Vth: high, steps: 0, tau: 2 }
        Training: { optimizer: ADAMM, bin_mode: AND, random_crop: "True", lr: , batch: true, seed: -1 }
        Path: 3
    """
    assert problems_of(text) == (
        "Path = 3: must be a section with keys",
        "Simulation.dt = 1.5: must be a whole number from 1 to 1000000000",
        'Simulation.Vth = "high": must be a number from 1e-37 to 1e+38',
        "Simulation.steps = 0: must be a whole number from 1 to 1000000000",
        "Simulation.tau = 2: must be a number ≥ 0 and ≤ 1",
        'Training.optimizer = "ADAMM": must be one of "ADAM", "SGD"; did you mean "ADAM"?',
        'Training.bin_mode = "AND": must be one of "OR", "SUM", "SUM_NORM"',
        'Training.random_crop = "True": must be true or false',
        "Training.lr = None: must be a number from 1e-37 to 1e+38",
        "Training.batch = true: must be a whole number from 1 to 1000000000",
        "Training.seed = -1: must be a whole number from 0 to 4294967294",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty; a network.yaml has some of the sections Simulation, Training, Path, Testing"),
        ("# nothing\n", "is empty; a network.yaml has some of the sections Simulation, Training, Path, Testing"),
        ("- 1", "has none of the sections of a network.yaml: Simulation, Training, Path, Testing"),
        ("version: 3", "has none of the sections of a network.yaml: Simulation, Training, Path, Testing"),
    ],
)
def test_a_file_that_is_no_network_yaml_is_refused(text: str, problem: str) -> None:
    assert problems_of(text) == (problem,)


def test_broken_yaml_is_reported_with_its_line() -> None:
    (problem,) = problems_of("Training:\n  lr: [1\n")
    assert problem.startswith("is not YAML: ")
    assert "line 3" in problem or "line 2" in problem


def test_keys_that_are_filled_in_are_named_with_their_values() -> None:
    text = PREDECESSORS_OWN.replace("    a1: 0.5\n", "").replace("    lr: 0.001\n", "").replace("    steps: 145", "")
    assert convert_network_yaml(text, "network.yaml")[2] == ["Simulation.a1 = 0.5", "Training.lr = 0.001"]
    assert convert_network_yaml(PREDECESSORS_OWN, "network.yaml")[2] == []
    random = text.replace("random_crop: False", "random_crop: True")
    assert convert_network_yaml(random, "network.yaml")[2][-1] == "Testing.steps = 145"


def names(**users: Sequence[int]) -> list[str]:
    return sorted(f"user{user:02d}_{session}" for session, numbers in users.items() for user in numbers)


S1, S2, S3, S4 = range(25, 35), range(35, 60), [*range(4), *range(5, 18)], range(18, 25)


def with_list(folder: Path, content: Sequence[str], name: str = "mine.txt") -> str:
    (folder / "src").mkdir()
    (folder / name).write_text("\n".join(content))
    return convert_network_yaml(f"Path: {{ file_list: ../{name} }}", "network.yaml", folder / "src")[0]


@pytest.mark.parametrize(
    ("users", "sessions"),
    [
        ({"imse": S1, "dc": S2, "indoor": S3, "sunlight": S4}, ("S1", "S2", "S3", "S4")),
        ({"imse": S1, "dc": S2, "sunlight": S4}, ("S1", "S2", "S4")),
        ({"indoor": S3}, ("S3",)),
    ],
)
def test_a_list_of_whole_sessions_becomes_those_sessions(
    tmp_path: Path, users: dict[str, Sequence[int]], sessions: tuple[str, ...]
) -> None:
    space = parse_space(with_list(tmp_path, names(**users)), "converted")
    assert space.settings["evaluation.sessions"] == sessions


@pytest.mark.parametrize("name", ["mine.txt", "filelist.txt"])
@pytest.mark.parametrize(
    "content",
    [names(imse=S1[1:]), names(imse=S1)[::-1], [*names(imse=S1), "other"], ["x"] * 10, []],
    ids=["one less", "another order", "one more", "strange", "empty"],
)
def test_a_list_of_other_recordings_is_refused_and_not_dropped(tmp_path: Path, name: str, content: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        with_list(tmp_path, content, name)
    (problem,) = caught.value.problems
    assert problem == (
        f'Path.file_list = "../{name}": lists {len(content)} recordings that are not all those of some sessions by '
        "name, and folds would differ; import a folder of these recordings alone, and name filelist.txt here instead"
    )


def test_a_list_of_the_users_own_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine\.txt\": cannot be read \(No such file or directory\)"):
        convert_network_yaml("Path: { file_list: mine.txt }", "network.yaml", tmp_path)
    assert convert_network_yaml("Path: { file_list: filelist.txt }", "network.yaml", tmp_path)


def test_values_that_do_not_go_together_are_refused() -> None:
    assert problems_of("Simulation: { steps: 1000000, dt: 1000000 }") == (
        "sampling.train_crop_ms = 1000000000000: must be a whole number from 1 to 4294967",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "a: &a [x, x]\nb: &b [*a, *a]\nTraining: { lr: [*b, *b] }",
            "is not YAML: line 2 has an alias (*a); write the value itself",
        ),
        (f"Training: {{ lr: {'[' * 30_000}", "is not YAML: line 1 is nested more than 4 deep"),
    ],
    ids=["aliases", "depth"],
)
def test_yaml_that_would_grow_without_end_is_refused_at_once(text: str, problem: str) -> None:
    assert problems_of(text) == (problem,)
