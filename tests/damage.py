"""Damages files of ours and reads them as commands do: python -m tests.damage KIND,KIND CASES SEED.

Every case must be read, or end in an error of sltune's own that names the file, soon and within the memory that is
allowed. Prints a case that does not, and how the others ended.
"""

from __future__ import annotations

import copy
import faulthandler
import json
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner
from optuna.trial import TrialState

from sltune.cli.main import main
from sltune.errors import SltuneError
from sltune.events.dataset import open_dataset
from sltune.events.importing import import_source
from sltune.events.verify import verify_dataset
from sltune.progress.follow import Follower
from sltune.runs.epochs import begin_epochs, seconds_of
from sltune.runs.folder import RunFolder
from sltune.runs.info import RunInfo, write_info
from sltune.runs.record import TrialKey
from sltune.training.predictions import predictions_to_bytes, rates_of_classes, read_predictions
from sltune.tuning.campaign.storage import open_storage
from sltune.tuning.campaign.study import SearchStudy, Verdict
from tests import small
from tests.events.fuzz import ANY_DAMAGE, SECONDS_A_CASE, change_cells, change_encoding, change_rows, limit_memory
from tests.events.test_dataset import read_as_trials_do
from tests.events.test_verify import FIRST, vouch
from tests.tuning.searches import DATASET, campaign_of, run, search, space

Random = random.Random
TOKENS = {"@nan@": "NaN", "@inf@": "-Infinity", "@digits@": "9" * 5000, "@deep@": "[" * 3000 + "]" * 3000}
VALUES: Sequence[Any] = (
    *(None, True, False, 0, 1, -1, 3, 2**31, 2**63, 10**400, 0.5, 1e308, -1e308, 5e-324, -0.0, [], {}, [[]], [1] * 999),
    *("", "x", "0", "²", "../../x", "\x1b[2J", "\ud800", "x" * 100_000, "c0000", "{}", "[1]", '{"name": 1}', *TOKENS),
)
FIRST_TRIAL = TrialKey("c0001", 0, 0)
EPOCHS = "epoch,train_loss,val_loss,val_accuracy,samples_per_second,seconds"
TRIALS = 13
PREDICTIONS = "predictions.parquet"


def places_of(value: Any) -> Iterator[tuple[Any, Any]]:
    """Give every list or object in a value with each of its indices or keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places_of(value[key])


def change_value(rng: Random, value: Any) -> Any:
    places = list(places_of(value))
    if not places or rng.random() < 0.02:
        return copy.deepcopy(rng.choice(VALUES))
    holder, key = rng.choice(places)
    old = holder[key]
    what = rng.choice(["value", "value", "delete", "rename", "number", "inside"])
    if what == "delete":
        del holder[key]
    elif what == "rename" and isinstance(holder, dict):
        holder[rng.choice(["", "x", "\x1b[2J", "fixed_params", *map(str, holder)])] = holder.pop(key)
    elif what == "number" and type(old) in (int, float) and abs(old) < 1e300:
        holder[key] = rng.choice([-old, old + 1, old - 1, float(old), old * 1e6, str(old), [old]])
    elif what == "inside" and isinstance(old, str) and old.startswith("{"):
        holder[key] = change_json(rng, old.encode()).decode(errors="replace")
    else:
        holder[key] = copy.deepcopy(rng.choice(VALUES) if rng.random() < 0.7 else rng.choice(places)[0])
    return value


def change_json(rng: Random, content: bytes) -> bytes:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        # Damaged before.
        return content
    for _ in range(rng.choice([1, 1, 1, 2, 6])):
        value = change_value(rng, value)
    text = json.dumps(value)
    for token, instead in TOKENS.items():
        text = text.replace(f'"{token}"', instead)
    return text.encode()


def change_lines(rng: Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    for _ in range(rng.choice([1, 1, 2, 8])):
        place = rng.randrange(len(lines))
        what = rng.choice(["change", "change", "change", "change", "drop", "twice", "move"])
        line = lines[place]
        if what == "change":
            lines[place] = change_json(rng, line) + b"\n" if line.startswith(b"{") else b"{}\n"
        elif what == "twice":
            lines.insert(rng.randrange(len(lines)), line)
        elif len(lines) > 1:
            del lines[place]
            if what == "move":
                lines.insert(rng.randrange(len(lines)), line)
    return b"".join(lines)


def change_table(rng: Random, content: bytes) -> bytes:
    """Change a column's values or type in a Parquet file, which stays whole; or bytes of it."""
    table = pq.read_table(pa.BufferReader(content))
    index = rng.randrange(table.num_columns)
    name, column = table.column_names[index], table.column(index).to_pylist()
    odd = [None, 0, -1, 2**32, 2**64 - 1, "", "x" * 1000, [], [2**16 - 1], [0] * 400, [None], 0.5, b"\xff"]
    for _ in range(rng.choice([1, 2, 6])):
        column[rng.randrange(len(column))] = rng.choice([*odd, rng.choice(column)])
    try:
        kind = table.schema.field(index).type if rng.random() < 0.7 else None
        changed = table.set_column(index, name, pa.array(column, kind))
    except (pa.ArrowException, OverflowError):
        changed = rng.choice([table.drop_columns([name]), table.slice(1), pa.concat_tables([table, table])])
    sink = pa.BufferOutputStream()
    pq.write_table(changed, sink, compression=rng.choice(["none", "zstd", "gzip"]), row_group_size=rng.choice([1, 99]))
    return bytes(sink.getvalue())


def change_footer(rng: Random, content: bytes) -> bytes:
    """Flip bits near the end of a Parquet file, where it says what lies where."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 2, 8])):
        changed[-rng.randrange(1, min(len(changed), 4000))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def make_run(root: Path) -> Path:
    """Write a search of which all trials but some have ended, with trials of an earlier run and tried again."""
    made = space(f"trials = {TRIALS}\nfold_pruner = 'none'", folds=2)
    campaign = search(root, made)
    campaign.strategy._study.learn("old/c0000", {"neuron.decay": 0.5, "neuron.v_threshold": 0.5}, verdict(0.5))
    run(campaign, epochs=3)
    campaign.strategy._study.tell_again(1, {"neuron.decay": 0.4, "neuron.v_threshold": 0.5}, verdict(0.6))
    campaign.strategy._study.ask()
    folder = campaign.folder
    folder.write(folder.space_toml, made.to_toml())
    steps = ((0, 0), (0, 1))
    facts: Mapping[str, Any] = {"dataset": DATASET.model_dump(), "study": {"name": "hills"}, "best": "c0002"}
    write_info(folder, RunInfo(name="hills", kind="tune", space=made.to_toml(), steps=steps, **facts))
    file = folder.trial(FIRST_TRIAL).path / "record.json"
    record = json.loads(file.read_text())
    tested = {"user00_indoor": {"subject": "user00", "session": "S3", "samples": 19, "correct": 7}}
    record["metrics"] |= {"best_epoch": 3, "confusion": [[1, 0], [0, 1]], "spikes": {"a": 2.5}, "recordings": tested}
    file.write_text(json.dumps(record))
    return root


def make_epochs(root: Path) -> Path:
    make_run(root)
    file = RunFolder(root).trial(FIRST_TRIAL).epochs_csv
    rows = "".join(f"{epoch},0.5,0.25,0.75,12.5,3.0\n" for epoch in range(1, 20))
    file.write_text(f"{EPOCHS}\n{rows}")
    (file.parent / "record.json").unlink()
    return root


def make_data(root: Path) -> Path:
    import_source(small.source(), root)
    return root


def make_predictions(root: Path) -> Path:
    root.mkdir()
    labels = np.arange(12) % 3
    rates = np.random.default_rng(0).random((12, 3)).astype(np.float32)
    names = [f"user00_indoor_{row:02d}" for row in range(12)]
    (root / PREDICTIONS).write_bytes(predictions_to_bytes(["user00_indoor"] * 12, names, labels, rates))
    return root


def verdict(value: float) -> Verdict:
    return Verdict(TrialState.COMPLETE, {0: value, 1: value}, [value])


def go_on(rng: Random, root: Path) -> None:
    """Go on with a search, to its next proposal and what is told of it."""
    made = space(f"trials = {TRIALS + 2}\nsampler = '{rng.choice(['tpe', 'tpe', 'cmaes', 'gp'])}'", folds=2)
    assert made.search is not None
    folder = RunFolder(root)
    study = SearchStudy(open_storage(folder.study_journal), "hills", made, made.search)
    campaign = campaign_of(folder, made, study)
    campaign.next_trial()
    if (proposal := study.ask()) is not None:
        study.tell(proposal.number, verdict(0.5))


def report(rng: Random, root: Path) -> None:
    """Report a run, or follow it."""
    if rng.random() < 0.3:
        follower = Follower(RunFolder(root))
        assert follower.state.begun
        list(follower.facts())
        return
    command(["report", str(root), "--format", rng.choice(["md", "json", "csv", "latex"])])


def read_epochs_file(rng: Random, root: Path) -> None:
    file = RunFolder(root).trial(FIRST_TRIAL).epochs_csv
    seconds_of(file)
    begin_epochs(file, [dict(zip(EPOCHS.split(","), (9, 0.5, 0.25, 0.75, 12.5, 3.0), strict=True))])
    report(rng, root)
    list(Follower(RunFolder(root)).facts())


def read_data(rng: Random, root: Path) -> None:
    what = rng.randrange(4)
    if what == 0:
        samples = open_dataset(root).samples
        for index in range(len(samples)):
            samples.events(index)
    elif what == 1:
        verify_dataset(root)
    elif what == 2:
        read_as_trials_do(root)
    else:
        command(["inspect", str(root)])


def read_said(rng: Random, root: Path) -> None:
    table = read_predictions(root / PREDICTIONS)
    if table.num_rows:
        assert rates_of_classes(table).argmax(1).max() <= 255


def read_vouched(rng: Random, root: Path) -> None:
    """Read a dataset whose manifest has the hash of the damaged file."""
    vouch(root, FIRST)
    read_data(rng, root)


def command(arguments: list[str]) -> None:
    """Run a command; raises what it has not turned into an exit code, and an error of ours for what it has."""
    result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 2, 3, 5), result.output
    assert len(result.output) < 1_000_000
    if result.exit_code:
        raise SltuneError(result.output)


@dataclass(frozen=True)
class Kind:
    """A kind of file: how one comes about, where it lies, how it is damaged and read, and what an error may name."""

    make: Callable[[Path], Path]
    file: str
    damage: Sequence[Callable[[Random, bytes], bytes]]
    read: Callable[[Random, Path], None]
    named: Sequence[str]


JSON = (*ANY_DAMAGE, *[change_json] * 12)
TRIAL = f"trials/{FIRST_TRIAL.name}"
KINDS: Mapping[str, Kind] = {
    "journal": Kind(
        make_run, "study.journal", (*ANY_DAMAGE, *[change_lines] * 12), go_on, ("study", "hills.toml", "space.toml")
    ),
    "record": Kind(make_run, f"{TRIAL}/record.json", JSON, report, ("record", FIRST_TRIAL.name)),
    "run": Kind(make_run, "run.json", JSON, report, ("run.json", "trials")),
    "epochs": Kind(
        make_epochs,
        f"{TRIAL}/epochs.csv",
        (*ANY_DAMAGE, *[change_cells] * 6, change_rows, change_encoding),
        read_epochs_file,
        ("epochs.csv",),
    ),
    "manifest": Kind(make_data, "manifest.json", JSON, read_data, ("manifest.json", "recordings")),
    # Damage to footers, of which Arrow reads some and some end the process, is tried with samples below.
    "predictions": Kind(make_predictions, PREDICTIONS, (*ANY_DAMAGE, *[change_table] * 6), read_said, (PREDICTIONS,)),
    "parquet": Kind(
        make_data, FIRST, (*ANY_DAMAGE, *[change_table] * 6, *[change_footer] * 4), read_vouched, (FIRST, "manifest")
    ),
}


def run_cases(kind: Kind, cases: int, seed: int) -> Counter[str]:
    """Read damaged files and count how that ended; a case that ended in any other way is printed."""
    ends = Counter[str]()
    scratch = Path(tempfile.mkdtemp())
    original = kind.make(scratch / "original")
    content = (original / kind.file).read_bytes()
    for case in range(cases):
        rng = Random(seed * 1_000_003 + case)
        root = Path(shutil.copytree(original, scratch / "case"))
        (root / kind.file).write_bytes(rng.choice(kind.damage)(rng, content))
        faulthandler.dump_traceback_later(SECONDS_A_CASE, exit=True)
        try:
            kind.read(rng, root)
            ends["read"] += 1
        except SltuneError as error:
            is_named = any(name in str(error) for name in kind.named)
            ends["an error" if is_named else "an error without the file"] += 1
            if not is_named:
                print(f"case {case}: names no file: {error}")
        except BaseException:
            ends["a traceback"] += 1
            print(f"case {case}: {traceback.format_exc(-3)}")
        faulthandler.cancel_dump_traceback_later()
        shutil.rmtree(root)
    shutil.rmtree(scratch)
    return ends


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    limit_memory()
    kinds = sys.argv[1].split(",")
    print(json.dumps({kind: run_cases(KINDS[kind], int(sys.argv[2]), int(sys.argv[3])) for kind in kinds}))
