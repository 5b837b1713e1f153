from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sltune.errors import ConfigError
from sltune.extensions.code import FORMS
from sltune.settings.configuration import DEFAULTS, Configuration
from sltune.settings.domains import ChoiceDomain, FloatDomain, IntDomain
from sltune.settings.search import Search
from sltune.settings.space import Space, load_space, parse_space
from sltune.settings.types import Value

SPACES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.toml"))
NAMES = ", ".join(file.name for file in SPACES)

SEARCHING = """
[sampling]
train_crop = { choices = ["start", "random"] }
train_crop_ms = { low = 300, high = 3000, step = 30 }
eval_crop_ms = { low = 300, high = 4350, when = { "sampling.train_crop" = "random" } }
[neuron]
decay = { low = 0.05, high = 0.95 }
[training]
learning_rate = { low = 1e-4, high = 1e-2, log = true }
[search]
trials = 20
objectives = ["val_accuracy", "synaptic_ops"]
constraints = { max_synaptic_ops = 5e7 }
[[search.first]]
sampling.train_crop = "random"
sampling.train_crop_ms = 510
sampling.eval_crop_ms = 4350
[[search.first]]
"neuron.decay" = 0.3
"""


def problems_of(text: str, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_space(text, "x.toml", overrides)
    return caught.value.problems


def test_an_empty_file_is_the_default_configuration() -> None:
    assert parse_space("", "x.toml").configuration() == Configuration()


def test_values_of_a_file_are_taken_and_the_rest_is_default() -> None:
    space = parse_space("[training]\nepochs = 3\nlearning_rate = 1\n[evaluation]\nseeds = [1, 2]", "x.toml")
    expected = {"training.epochs": 3, "training.learning_rate": 1.0, "evaluation.seeds": (1, 2)}
    assert space.configuration().settings() == {**DEFAULTS, **expected}


def test_searched_values_become_domains() -> None:
    assert parse_space(SEARCHING, "x.toml").domains == {
        "sampling.train_crop": ChoiceDomain(choices=("start", "random")),
        "sampling.train_crop_ms": IntDomain(low=300, high=3000, step=30),
        "sampling.eval_crop_ms": IntDomain(low=300, high=4350, when={"sampling.train_crop": "random"}),
        "neuron.decay": FloatDomain(low=0.05, high=0.95),
        "training.learning_rate": FloatDomain(low=1e-4, high=1e-2, log=True),
    }


def test_the_search_table_and_first_configurations_are_read() -> None:
    space = parse_space(SEARCHING, "x.toml")
    assert space.search == Search(
        trials=20,
        objectives=("val_accuracy", "synaptic_ops"),
        constraints={"max_synaptic_ops": 5e7},
        fold_pruner="none",
    )
    assert space.first == (
        {"sampling.train_crop": "random", "sampling.train_crop_ms": 510, "sampling.eval_crop_ms": 4350},
        {"neuron.decay": 0.3},
    )
    assert parse_space("", "x.toml").search is None


def test_all_problems_of_a_file_are_reported_at_once() -> None:
    text = """
        learning_rate = 1e-3
        [sampling]
        train_crop = "randm"
        train_crop_ms = { low = 0, high = 3000 }
        eval_crop_ms = 20
        [neuron]
        dcay = 0.3
        [training]
        optimizer = "adamm"
        decay = 0.1
        [trainig]
        epochs = 3
        [evaluation]
        folds = 1
        [search]
        smapler = "tpe"
        sampler = "tpee"
    """
    assert problems_of(text) == (
        'learning_rate: unknown table; did you mean "training.learning_rate"?',
        'sampling.train_crop = "randm": must be one of "start", "random", "whole", "random-predecessor"; '
        'did you mean "random"?',
        "sampling.train_crop_ms = { low = 0, high = 3000 }: low must be a whole number from 1 to 4294967",
        'neuron.dcay = 0.3: unknown key; did you mean "decay"?',
        'training.optimizer = "adamm": must be one of "adam", "sgd", "adamw", or an optimizer of yours, '
        f'{FORMS}; did you mean "adam"?',
        'training.decay = 0.1: unknown key; did you mean "neuron.decay"?',
        'trainig: unknown table; did you mean "training"?',
        "sampling.eval_crop_ms = 20, sampling.time_bin_ms = 30: a crop must be at least one time bin long",
        'evaluation.folds = 1, evaluation.split = "folds": a cross-validation takes at least 2 folds',
        'search.smapler = "tpe": unknown key; did you mean "sampler"?',
        'search.sampler = "tpee": must be one of "tpe", "random", "grid", "cmaes", "gp", or a sampler of yours, '
        f'{FORMS}; did you mean "tpe"?',
    )


def test_an_error_names_the_file_and_the_number_of_problems() -> None:
    with pytest.raises(ConfigError, match=r"^x\.toml: 1 problem\n  - training\.epochs = -1: must be"):
        parse_space("[training]\nepochs = -1", "x.toml")


@pytest.mark.parametrize(
    "problem", ["sampling = 3: must be a table, [sampling]", "search = [{}]: must be a table, [search]"]
)
def test_a_section_must_be_a_table(problem: str) -> None:
    text = "[[search]]" if problem.startswith("search") else "sampling = 3"
    assert problems_of(text) == (problem,)


def test_a_syntax_error_is_reported_with_its_line() -> None:
    (problem,) = problems_of("[training]\nepochs = = 3\n")
    assert problem.startswith("is not TOML")
    assert "line 2" in problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, f'no such file; did you mean "paper.toml"?; those that come with sltune: {NAMES}'),
        ("folder", "cannot be read: is a folder, not a plain file"),
        (b"# fine\n# caf\xe9\n", "line 2: byte 0xe9 is not UTF-8"),
    ],
)
def test_what_is_no_readable_file_is_refused(tmp_path: Path, content: object, problem: str) -> None:
    path = tmp_path / "space.toml"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_space(path)
    assert (caught.value.source, caught.value.problems) == (str(path), (problem,))


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_bytes("\ufeff[training]\r\nepochs = 3\r\n".encode())
    assert load_space(path).configuration().training.epochs == 3


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("training.epochs=10", "training.epochs", 10),
        ("training.optimizer=sgd", "training.optimizer", "sgd"),
        ('training.optimizer = "sgd"', "training.optimizer", "sgd"),
        ("training.shuffle=true", "training.shuffle", True),
        ("evaluation.seeds=[1, 2]", "evaluation.seeds", (1, 2)),
        ("network.weights=runs/a=b/f{fold}.pt", "network.weights", "runs/a=b/f{fold}.pt"),
        ("network.weights=", "network.weights", ""),
    ],
)
def test_an_override_replaces_a_value(override: str, key: str, value: object) -> None:
    space = parse_space('[training]\nepochs = 3\noptimizer = "adam"', "x.toml", [override])
    assert space.settings[key] == value


def test_the_last_of_several_overrides_counts() -> None:
    assert parse_space("", "x", ["training.epochs=1", "training.epochs=2"]).settings["training.epochs"] == 2


def test_an_override_can_fix_or_change_what_is_searched() -> None:
    assert "neuron.decay" not in parse_space(SEARCHING, "x", ["neuron.decay=0.5", "search.first=[]"]).domains
    space = parse_space(SEARCHING, "x", ["sampling.train_crop_ms.high=900", "search.trials=5"])
    assert space.domains["sampling.train_crop_ms"] == IntDomain(low=300, high=900, step=30)
    assert space.search is not None
    assert space.search.trials == 5


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("training.epoch=10", 'training.epoch = 10: unknown key; did you mean "epochs"?'),
        ("training.epochs=ten", 'training.epochs = "ten": must be a whole number from 0 to 1000000000'),
        ("training.epochs=10.0", "training.epochs = 10.0: must be a whole number from 0 to 1000000000"),
        ("trainin.epochs=10", 'trainin: unknown table; did you mean "training"?'),
        ("epochs=10", '--set epochs=10: must have the form section.key=value; did you mean "training.epochs"?'),
        (
            "training.epochs",
            "--set training.epochs: needs a value, such as --set training.epochs=400",
        ),
        (
            "training..epochs=1",
            '--set training..epochs=1: must have the form section.key=value; did you mean "training.epochs"?',
        ),
        ("training.lr.low.x=1", "training.lr = { low = { x = 1 } }: unknown key"),
        ("training.epochs.low=1", "--set training.epochs.low=1: epochs = 3 is not a table"),
        ("training.epochs=1\nloss=2", "--set training.epochs=1\nloss=2: must set one value only"),
    ],
)
def test_a_wrong_override_is_refused(override: str, problem: str) -> None:
    assert problems_of("[training]\nepochs = 3", override) == (problem,)


def test_a_broken_list_in_an_override_is_not_taken_for_a_string() -> None:
    (problem,) = problems_of("", "network.weights=[1")
    assert problem.startswith("--set network.weights=[1: [1 is not a TOML value: ")


def test_overrides_are_named_in_the_errors_they_cause() -> None:
    with pytest.raises(ConfigError, match=r"^x\.toml --set training\.epochs=0: 1 problem"):
        parse_space("", "x.toml", ["training.epochs=0"])


def test_a_fixed_configuration_is_refused_where_something_is_searched() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_space(SEARCHING, "x.toml").configuration()
    assert caught.value.problems == (
        'sampling.train_crop = { choices = ["start", "random"] }: is searched, but needs one value: '
        "--set sampling.train_crop=VALUE",
        "sampling.train_crop_ms = { low = 300, high = 3000, step = 30 }: is searched, but needs one value: "
        "--set sampling.train_crop_ms=VALUE",
        'sampling.eval_crop_ms = { low = 300, high = 4350, when = { "sampling.train_crop" = "random" } }: '
        "is searched, but needs one value: --set sampling.eval_crop_ms=VALUE",
        "neuron.decay = { low = 0.05, high = 0.95 }: is searched, but needs one value: --set neuron.decay=VALUE",
        "training.learning_rate = { low = 0.0001, high = 0.01, log = true }: is searched, but needs one value: "
        "--set training.learning_rate=VALUE",
        "to search instead: sltune tune SPACE --data DATA",
    )


def test_sampled_values_complete_a_searching_space() -> None:
    drawn: dict[str, Value] = {
        "sampling.train_crop": "start",
        "sampling.train_crop_ms": 600,
        "neuron.decay": 0.5,
        "training.learning_rate": 1e-3,
    }
    settings = parse_space(SEARCHING, "x.toml").configuration(drawn).settings()
    assert settings == {**DEFAULTS, **drawn, "sampling.eval_crop_ms": 4350}


def test_a_value_is_needed_as_soon_as_its_condition_holds() -> None:
    drawn: dict[str, Value] = {"sampling.train_crop_ms": 600, "neuron.decay": 0.5, "training.learning_rate": 1e-3}
    with pytest.raises(ConfigError, match=r"1 problem\n  - sampling\.eval_crop_ms"):
        parse_space(SEARCHING, "x.toml").configuration({**drawn, "sampling.train_crop": "random"})


def test_a_search_may_not_use_the_protocol_that_selects_on_the_test_set() -> None:
    text = '[neuron]\ndecay = { low = 0.1, high = 0.9 }\n[evaluation]\nprotocol = "train-test"'
    assert problems_of(text) == (
        'evaluation.protocol = "train-test": a search must not see the test set; use "train-val-test"',
    )


SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "sampling.time_bin_ms": st.integers(1, 300),
    "sampling.train_crop": st.sampled_from(["start", "random", "random-predecessor"]),
    "sampling.train_crop_ms": st.integers(300, 10_000),
    "sampling.eval_crop_ms": st.integers(300, 10_000) | st.sampled_from(["whole", "train"]),
    "sampling.binning": st.sampled_from(["binary", "count", "normalized"]),
    "sampling.downsample": st.sampled_from([1, 2, 4]),
    "sampling.size": st.just("64x48"),
    "neuron.v_threshold": st.floats(1e-37, 1e38),
    "neuron.decay": st.floats(0, 1),
    "network.dropout": st.floats(0, 1, exclude_max=True),
    "network.weights": st.text(),
    "training.epochs": st.integers(1, 10**9),
    "training.learning_rate": st.floats(1e-37, 1e38),
    "training.shuffle": st.booleans(),
    "evaluation.val_fraction": st.floats(0, 1, exclude_min=True, exclude_max=True),
    "evaluation.seeds": st.lists(st.integers(0, 2**32 - 2), min_size=1, unique=True).map(tuple),
    "evaluation.split_seed": st.integers(-1, 2**32 - 2),
    "evaluation.sessions": st.one_of(st.just("all"), st.lists(st.text(min_size=1), min_size=1, unique=True).map(tuple)),
}


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=SETTINGS))
def test_a_fixed_space_reads_back_equal(settings: dict[str, Any]) -> None:
    if "sampling.size" in settings:
        settings.pop("sampling.downsample", None)
    space = Space({**DEFAULTS, **settings})
    again = parse_space(space.to_toml(), "again")
    assert again == space
    assert again.configuration() == Configuration.of(settings)


def test_a_size_of_frames_that_is_not_set_is_left_out_of_files_and_records() -> None:
    without, with_size = parse_space("", "x"), parse_space("[sampling]\nsize = '64x48'", "x")
    assert "size = " not in without.to_toml().replace("batch_size = ", "")
    assert 'size = "64x48"' in with_size.to_toml()
    assert "size" not in without.configuration().model_dump()["sampling"]
    assert with_size.configuration().sampling.frame_size == (48, 64)


def test_sizes_of_frames_are_searched_and_each_network_is_tried() -> None:
    space = parse_space("[sampling]\nsize = { choices = ['', '64x64', '32x32'] }", "x")
    assert [configuration.sampling.size for configuration in space.probes()] == ["", "64x64", "32x32"]
    assert parse_space(space.to_toml(), "again") == space


@pytest.mark.parametrize("downsample", ["2", "{ choices = [1, 2] }"])
def test_a_size_of_frames_does_not_go_together_with_downsample(downsample: str) -> None:
    (problem,) = problems_of(f"[sampling]\nsize = '64x64'\ndownsample = {downsample}")
    assert problem.startswith('sampling.size = "64x64", sampling.downsample = 2: size alone says how large frames are')


def test_a_searching_space_reads_back_equal() -> None:
    space = parse_space(SEARCHING, "x.toml", ["training.epochs=7"])
    assert parse_space(space.to_toml(), "again") == space


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.name)
def test_every_space_that_comes_with_sltune_is_valid_and_explained(path: Path) -> None:
    space = load_space(path)
    assert parse_space(space.to_toml(), "again") == space
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert f"search_spaces/{path.name} --data" in text


def test_the_spaces_of_the_predecessor_differ_in_their_crops_only() -> None:
    paper, optimized = (load_space(SPACES[0].parent / f"{name}.toml").settings for name in ("paper", "optimized"))
    assert {key: (paper[key], optimized[key]) for key in paper if paper[key] != optimized[key]} == {
        "sampling.train_crop": ("start", "random"),
        "sampling.train_crop_ms": (1500, 510),
        "sampling.eval_crop_ms": ("train", 4350),
    }
    assert optimized == DEFAULTS


def test_reading_a_space_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'ray', 'optuna', 'numpy'}"
    code = f"import sys, sltune.settings.space; print(sorted({heavy} & sys.modules.keys()))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("text", [f"a{'.a' * 450} = 1", f"a = {'[' * 200}{']' * 200}"])
def test_tables_that_are_nested_without_end_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="nested more than 10 deep"):
        parse_space(f"[sampling]\n{text}\n", "x.toml")


def test_an_override_that_is_nested_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must have the form section\.key=value"):
        parse_space("", "x.toml", [f"a{'.a' * 450}=1"])


ABSURD = (
    "5e-324", "1e308", "-1e308", "1e-320", "1e300", "-0.0", "nan", "inf", "1_000_000_000_000", "0x" + "f" * 5000,
    "9" * 5000, "[[]]", "{}", "{ low = 5e-324, high = 1e-320 }", "{ low = 0, high = 1e308, step = 5e-324 }",
    "{ low = 1, high = 10, step = 1e-300 }", "{ choices = [1e308, 5e-324] }", "{ choices = [1, 1.0] }",
    "{ low = 0x" + "f" * 4000 + ", high = 1 }", "{ low = nan, high = inf }", "1979-05-27", '"' + "x" * 10_000 + '"',
)  # fmt: skip


@pytest.mark.parametrize("key", [*DEFAULTS, "search.trials", "search.std_weight", "search.max_hours", "search.first"])
def test_absurd_values_are_refused_in_short_or_read_back_equal(key: str) -> None:
    for value in ABSURD:
        try:
            space = parse_space("", "x.toml", [f"{key}={value}"])
        except ConfigError as error:
            longest = max(map(len, error.problems))
        else:
            longest = 0
            assert parse_space(space.to_toml(), "again") == space, value
        assert longest < 1010, value


def test_long_lists_are_written_and_refused_in_no_time() -> None:
    """Each took time with the square of its length: 20,000 seeds a minute."""
    rates = ", ".join(f"{1 + number * 1e-6!r}" for number in range(20_000))
    started = time.process_time()
    space = parse_space(f"[training]\nlearning_rate = {{ choices = [{rates}] }}", "x.toml")
    assert parse_space(space.to_toml(), "again") == space
    (problem,) = problems_of(f"[evaluation]\nseeds = {[*range(20_000)]}")
    assert problem.endswith("must be a list of 1 to 1000 different whole numbers from 0 to 4294967294")
    problems_of(f"[training]\n{'e' * 500_000} = 1")
    assert time.process_time() - started < 20


def test_only_plain_files_of_a_sane_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "huge.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    for name, reason in (("pipe.toml", "is a device, pipe or socket"), ("huge.toml", "has 1 MB, more than the 1 MB")):
        with pytest.raises(ConfigError) as caught:
            load_space(tmp_path / name)
        assert caught.value.problems[0].startswith(f"cannot be read: {reason}")
