"""A demo on synthetic recordings: write and import them, evaluate a small network on four folds, and search."""

from __future__ import annotations

from pathlib import Path

from sltune.errors import UsageError
from sltune.events.importing import import_source
from sltune.events.sources.slanimals.source import open_slanimals
from sltune.events.synthetic.recordings import write_dataset
from sltune.progress.display import Display
from sltune.runs.folder import RunFolder
from sltune.settings.space import load_space
from sltune.settings.toml import shipped_spaces
from sltune.tuning.cluster.resources import Request
from sltune.tuning.starting import NewSearch, start_evaluation, start_search

RECORDINGS = 12
"""Enough for four folds by signer, and trained in minutes on two cores."""


def demo_runs(out: Path) -> list[Path]:
    """Return the run folders of a demo in ``out``: that of the evaluation and that of the search."""
    return [out / "results" / "demo", out / "results" / "demo-search"]


def run_demo(out: Path, request: Request, display: Display) -> None:
    """Run the demo in the folder ``out``.

    Raises:
        UsageError: ``out`` is not empty; nothing is overwritten.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: is not empty; choose another --out or delete it")
    recordings, data = out / "recordings", out / "data"
    evaluation, search = map(RunFolder, demo_runs(out))
    display.say(f"1/4 writing {RECORDINGS} SYNTHETIC recordings of 19 gestures to {recordings}")
    write_dataset(recordings, RECORDINGS, seed=0, signers="similar")
    display.say(f"2/4 importing them into {data}")
    manifest = import_source(open_slanimals(recordings), data)
    display.say(f"3/4 training on {manifest.samples} samples, 4 folds, each tested on signers that it has not seen")
    start_evaluation(load_space(shipped_space("demo")), data, evaluation, request, display)
    display.say("4/4 searching for better settings, on the same folds; a configuration that falls behind is given up")
    start_search(load_space(shipped_space("demo-search")), data, search, request, display, NewSearch())


def shipped_space(name: str) -> Path:
    """Return a space file that comes with sltune."""
    return shipped_spaces() / f"{name}.toml"
