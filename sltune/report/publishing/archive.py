"""A run as one zip file: all that a reviewer needs, and nothing private."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sltune.errors import DataError
from sltune.report.analysis.runs import Run, load_runs
from sltune.report.analysis.summary import table
from sltune.report.publishing.anonymous import Anonymous
from sltune.report.tables.text import write_report
from sltune.runs.folder import RunFolder, TrialFolder
from sltune.runs.info import read_info, run_name
from sltune.system.files import named_by_user, open_plain, parse_json, read_plain, whole_file

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that zip files know; the same run gives the same bytes whenever it is archived."""
MODE = 0o100644


@dataclass(frozen=True)
class Archived:
    """What became of an archive. left_out: files that it lacks, with the reason. kept: as in Anonymous."""

    files: int
    run: Run
    left_out: tuple[str, ...]
    kept: tuple[str, ...]


def write_archive(folder: RunFolder, out: Path, weights: bool = False) -> Archived:
    """Write the archive of a run, which contains a folder of the run's name, with tables made from this very folder.

    Args:
        weights: whether to include those of every trial.

    Raises:
        DataError: the folder is no run folder, or something in it is broken.
        UsageError: the archive cannot be written; then there is none, or still the earlier one.
    """
    parts = [folder, *(RunFolder(path) for path in sorted(folder.root.glob("outer-*")) if (path / "run.json").exists())]
    runs = load_runs([part.root for part in parts])
    texts, left_out = _texts(folder)
    anonymous = Anonymous.of(runs, texts.values())
    with TemporaryDirectory(prefix="sltune-") as place:
        copy = RunFolder(Path(place) / anonymous.name(run_name(folder)))
        copy.root.mkdir()
        for name, text in texts.items():
            copy.write(copy.root / anonymous.name(name), _anonymous(folder.root / name, text, anonymous))
        for part in parts:
            # What reports say must follow from the archive alone.
            inside = copy.root / part.root.relative_to(folder.root)
            write_report(inside, table(load_runs([inside])))
        files = {file: file for file in copy.root.rglob("*") if file.is_file()}
        if weights:
            found = (file for part in parts for file in part.trials.glob("c*-f*-s*/best.pt"))
            files |= {copy.root / file.relative_to(folder.root): file for file in found if _is_own(file, folder)}
        with whole_file(named_by_user(out)) as handle, zipfile.ZipFile(handle, "w") as archive:
            for inside, file in sorted(files.items()):
                _add(archive, inside.relative_to(place).as_posix(), file)
    return Archived(len(files), runs[0], left_out, anonymous.kept)


def _texts(folder: RunFolder) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the texts of the files to archive by their paths below the run's folder, and those that are no text."""
    texts, left_out = {}, []
    for file in _files(folder):
        name = file.relative_to(folder.root).as_posix()
        try:
            if _is_own(file, folder):
                texts[name] = read_plain(file).decode()
            else:
                left_out.append(f"{name}, a link that leads out of the run's folder")
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            left_out.append(f"{name}, no text in UTF-8")
    return texts, tuple(left_out)


def _is_own(file: Path, folder: RunFolder) -> bool:
    """Say whether a file lies in the run's folder; a link in somebody else's run may lead to a secret of ours."""
    return file.resolve().is_relative_to(folder.root.resolve())


def _files(folder: RunFolder) -> Iterator[Path]:
    named = (folder.run_json, folder.space_toml, folder.best_toml, folder.baselines_json)
    yield from (file for file in named if file.exists())
    yield from sorted(folder.code.rglob("*.py"))
    for place in (folder.splits, folder.split_lists):
        yield from sorted(file for file in place.rglob("*") if file.is_file())
    for path in sorted(folder.trials.glob("c*-f*-s*")):
        trial = TrialFolder(path)
        yield from (file for file in (trial.record_file(), trial.epochs_csv) if file and file.exists())
    for path in sorted(folder.root.glob("outer-*")):
        yield from _files(RunFolder(path))


def _anonymous(file: Path, text: str, anonymous: Anonymous) -> str:
    if file.name == "run.json":
        return json.dumps(anonymous.info(read_info(RunFolder(file.parent))), indent=1)
    if file.suffix == ".json":
        return json.dumps(anonymous.value(parse_json(text)), indent=1)
    return anonymous.code(text) if file.suffix == ".py" else anonymous.text(text)


def _add(archive: zipfile.ZipFile, name: str, file: Path) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, MODE << 16
    # Of a file of more than 4 GB this has to be known before.
    entry.file_size = file.stat().st_size
    with open_plain(file) as content, archive.open(entry, "w") as into:
        shutil.copyfileobj(content, into)
