"""The verbs for final networks: fit trains them on all signers, and predict classifies recordings with them."""

from __future__ import annotations

import csv
import io
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sltune.cli.options.data import DataArgument
from sltune.cli.options.shared import (
    FileArgument,
    FolderArgument,
    ShownOptions,
    bundle,
    numbers,
    shown_flags,
)
from sltune.cli.options.space import FixedOptions, fixed_options
from sltune.errors import Interrupted, UsageError
from sltune.system.remote import AnyPath
from sltune.wording import as_argument, spreadsheet_cell

if TYPE_CHECKING:
    import torch

    from sltune.progress.display import Display
    from sltune.tuning.final.inputs import Inputs
    from sltune.tuning.final.loading import Predictor

COLUMNS = ("recording", "sample", "start_us", "duration_us", "true", "class", "rate")


@dataclass(frozen=True)
class HereOptions(ShownOptions):
    """What computes in this process, and how its progress is shown. threads: None for one for each CPU."""

    device_name: str
    threads: int | None

    def device(self) -> torch.device:
        """Return the device, and let the CPU have the threads.

        Raises:
            UsageError: torch sees no GPU.
        """
        import torch

        from sltune.system.limits import usable_cpus

        torch.set_num_threads(self.threads or usable_cpus())
        if self.device_name == "cuda" and not torch.cuda.is_available():
            raise UsageError("--device cuda: torch sees no GPU here")
        on_gpu = self.device_name != "cpu" and torch.cuda.is_available()
        return torch.device("cuda" if on_gpu else "cpu")


@dataclass(frozen=True)
class InputOptions:
    """What predictions are made of."""

    files: tuple[Path, ...]
    data: AnyPath | None
    part: str | None
    tags: Path | None
    window_ms: int | None
    step_ms: int | None
    time_unit: str | None

    def check(self) -> None:
        """Raise a UsageError if options do not go together."""
        if bool(self.files) == bool(self.data):
            raise UsageError("name either recordings or --data DATA")
        if self.data is not None and (self.tags or self.window_ms or self.step_ms):
            raise UsageError("--tags, --window-ms and --step-ms are for recordings; a dataset has samples already")
        if self.part is not None and self.data is None:
            raise UsageError(f"--part {self.part}: is for --data DATA, from which the trial's recordings are taken")
        if self.tags is not None and (self.window_ms or self.step_ms):
            raise UsageError("--window-ms and --step-ms: with --tags, samples are as long as the tags say")
        if self.tags is not None and len(self.files) > 1 and not self.tags.is_dir():
            raise UsageError(f"--tags {self.tags}: name the folder of the tag files where there are several recordings")

    def samples(self, predictor: Predictor, display: Display) -> Iterator[Inputs]:
        """Give the samples; raises as the functions of ``inputs`` do."""
        from sltune.events.formats.event_file import needs_time_unit
        from sltune.tuning.final.inputs import samples_of_dataset, samples_of_tags, windows_of

        if self.data is not None:
            yield samples_of_dataset(predictor, self.data, self.part or "", display.say)
        for file in self.files:
            if self.tags is not None:
                yield samples_of_tags(predictor, file, self.tags, display.say)
            else:
                unit = self.time_unit if needs_time_unit(file) else None
                yield from windows_of(predictor, file, self.window_ms, self.step_ms, display.say, unit)


here_options = bundle(
    HereOptions,
    "options",
    click.option("--device", "device_name", type=click.Choice(["auto", "cpu", "cuda"]), default="auto"),
    click.option("--threads", type=click.IntRange(min=1), help="Of the CPU; one for each CPU without it."),
    *shown_flags,
)
input_options = bundle(
    InputOptions,
    "inputs",
    click.argument("files", metavar="[FILE]...", nargs=-1, type=FileArgument),
    click.option("--data", type=DataArgument, help="Instead of recordings: the samples of a dataset."),
    click.option(
        "--part", type=click.Choice(["train", "val", "test"]), help="Of the dataset: only this part of a trial."
    ),
    click.option("--tags", type=FileArgument, help="The tag file of a recording, or a folder with NAME.csv for each."),
    click.option("--window-ms", type=click.IntRange(min=1), help="Without tags: the length of a window."),
    click.option(
        "--step-ms", type=click.IntRange(min=1), help="From one window to the next; without it, their length."
    ),
    click.option(
        "--time-unit", type=click.Choice(["s", "ms", "us", "ns"]), help="Of times, where a format leaves it open."
    ),
)


@click.command()
@fixed_options
@click.option("--data", required=True, type=DataArgument, help="A dataset that `sltune import` made.")
@click.option("--out", required=True, type=FolderArgument, metavar="MODEL", help="The folder of the model.")
@click.option("--seeds", metavar="S,S,…", callback=numbers, help="A network for each; instead of evaluation.seeds.")
@click.option("--no-validation", is_flag=True, help="Train on everybody, for training.epochs epochs.")
@here_options
def fit(
    fixed_options: FixedOptions,
    data: AnyPath,
    out: Path,
    seeds: tuple[int, ...] | None,
    no_validation: bool,
    options: HereOptions,
) -> None:
    """Train a final network on all signers, in this process.

    A fraction of them, evaluation.val_fraction, is kept apart to choose the epoch with the lowest loss, or nobody with
    --no-validation. No accuracy that is said here is one on signers who had no influence: that is what evaluate
    measures. The same command goes on after any interruption.

    \b
    sltune fit search_spaces/optimized.toml --data DATA --out MODEL
    sltune fit --from results/SEARCH --data DATA --out MODEL --seeds 0,1,2
    sltune fit --from results/RUN --data DATA --out MODEL --no-validation --set training.epochs=60
    """
    # Without a validation part there is no loss to wait for.
    overrides = ["training.patience=0"] if no_validation else []
    overrides += [f"evaluation.seeds={list(seeds)}"] if seeds else []
    space = fixed_options.load(*overrides)
    if not space.configuration().training.epochs:
        raise UsageError("training.epochs = 0: nothing would be trained; predict also takes the networks of trials")
    from sltune.tuning.final.fitting import Fitting
    from sltune.tuning.final.model import ModelFolder

    display = options.display()
    try:
        Fitting(space, not no_validation, data, options.device(), display).run(ModelFolder(out))
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; go on with: {shlex.join(['sltune', *sys.argv[1:]])}") from None
    display.inform(f"ready; ask it by: {shlex.join(['sltune', 'predict', as_argument(out)])} …")


@click.command()
@click.argument("model", metavar="MODEL", type=FolderArgument)
@input_options
@click.option("--rates", is_flag=True, help="Also the rates of all classes.")
@click.option("--out", type=FileArgument, help="Write the CSV here instead of to the terminal.")
@here_options
def predict(model: Path, inputs: InputOptions, rates: bool, out: Path | None, options: HereOptions) -> None:
    """Classify samples, tagged parts or windows of recordings; the result is CSV.

    MODEL is what fit has made, or a trial of a run. FILE is a recording of any format. With --tags it is cut as an
    import would cut it; without, windows slide over it, as long as an evaluation crop. The rates of several seeds are
    averaged.

    \b
    sltune predict MODEL new.aedat --step-ms 500
    sltune predict MODEL user00_indoor.aedat --tags user00_indoor.csv --rates --out said.csv
    sltune predict results/RUN/trials/c0000-f0-s0 --data DATA --part test
    """
    inputs.check()
    from sltune.tuning.final.loading import load_predictor
    from sltune.tuning.final.predicting import Tally
    from sltune.tuning.final.predicting import predict as said_of

    device, display, tally = options.device(), options.display(), Tally()
    predictor = load_predictor(model, device)
    columns = [*COLUMNS, *([f"rate_{name}" for name in predictor.classes] if rates else [])]
    with _written(out) as write, display.line() as show:
        write(_line(columns))
        for samples in inputs.samples(predictor, display):
            for row in said_of(predictor, samples, device, tally):
                write(_line([row[column] for column in columns]))
            show(f"{tally.samples:,} samples")
    display.inform(tally.words)


@contextmanager
def _written(out: Path | None) -> Iterator[Callable[[str], object]]:
    """Give what writes to a file, which appears at the end of the block, or to the terminal."""
    from sltune.system.files import named_by_user, whole_file

    if out is None:
        yield sys.stdout.write
        return
    with whole_file(named_by_user(out)) as handle:
        yield lambda text: handle.write(text.encode())


def _line(cells: Sequence[str | int | float]) -> str:
    text = io.StringIO()
    shown = [f"{cell:.6g}" if isinstance(cell, float) else spreadsheet_cell(cell) for cell in cells]
    csv.writer(text, lineterminator="\n").writerow(shown)
    return text.getvalue()
