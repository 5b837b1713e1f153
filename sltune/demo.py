"""The whole way on synthetic recordings: write them, import them, evaluate a small network on four folds."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from sltune.errors import UsageError
from sltune.events.importing import import_source
from sltune.events.slanimals import open_slanimals
from sltune.events.synthetic import write_dataset
from sltune.record import RunFolder
from sltune.space import load_space
from sltune.tuning.cluster import Request
from sltune.tuning.evaluation import Display, start_evaluation

RECORDINGS = 12


def demo_run(out: Path) -> Path:
    """Return the run folder of a demo below out."""
    return out / "results" / "demo"


def run_demo(out: Path, request: Request, display: Display, say: Callable[[str], None]) -> None:
    """Run the demo below out.

    Raises:
        UsageError: out is not empty; it is not ours to overwrite.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: is not empty; choose another --out or delete it")
    recordings, data = out / "recordings", out / "data"
    say(f"1/3 writing {RECORDINGS} SYNTHETIC recordings of 19 gestures to {recordings}")
    write_dataset(recordings, RECORDINGS, seed=0)
    say(f"2/3 importing them into {data}")
    manifest = import_source(open_slanimals(recordings), data)
    say(f"3/3 training on {manifest.samples} samples, 4 folds, each tested on signers that it has not seen")
    start_evaluation(load_space(demo_space()), data, RunFolder(demo_run(out)), request, display)


def demo_space() -> Path:
    """Return the demo's space file, as installed with the package or beside it in the source tree."""
    installed = Path(str(resources.files("sltune"))) / "search_spaces" / "demo.toml"
    return installed if installed.exists() else Path(__file__).parent.parent / "search_spaces" / "demo.toml"
