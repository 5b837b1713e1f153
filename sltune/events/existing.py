"""What an import finds in the folder that it writes to: files of an earlier import that can stay, and others."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from sltune.errors import DataError, UsageError
from sltune.events.manifest import MANIFEST, WARNINGS, Manifest, StoredFile, read_manifest
from sltune.events.source import Finding, Source
from sltune.events.store import SHORT_COLUMNS, file_sha256, is_sample_file, read_table, stored_metadata
from sltune.events.verify import short_problems, table_problems
from sltune.wording import first_of

MAX_SHOWN_NAMES = 5
"""A folder that was moved takes all recordings with it; the first few tell which."""


def refuse_dropping(source: Source, out: Path) -> None:
    """Refuse an import that would drop recordings from a dataset: their files may have been moved by mistake.

    Raises:
        UsageError: the dataset, or what a killed import left of it, holds recordings that the source does not have.
    """
    here = {name for file in source.files for name in (file.name, *file.recordings)}
    try:
        manifest = read_manifest(out)
        # ``prepare`` refuses the dataset of another source, and says what it is.
        held = [name for file in manifest.files for name in file.recordings] if _is_of(source, manifest) else []
    except DataError:
        held = [file.stem for file in sorted(out.glob("recordings/*.parquet")) if stored_metadata(file)]
    if gone := [name for name in held if name not in here]:
        raise UsageError(
            f"{out}: holds {len(held)} recordings, of which {len(gone)} are not in the source any more: "
            f"{', '.join(first_of(gone, MAX_SHOWN_NAMES))}; nothing was changed. Choose another --out, "
            "or drop them from the dataset with --replace"
        )


def prepare(source: Source, out: Path) -> dict[str, str]:
    """Delete what is damaged in ``out``, and return the source's hash for each sample file that can stay.

    Raises:
        UsageError: ``out`` is not a dataset, is one of another source, or holds files that no import wrote.
    """
    if (out / "recordings").is_symlink():
        raise UsageError(f"{out / 'recordings'}: is a link; put a folder in its place, or choose another --out")
    try:
        vouched = {file.file: file.sha256 for file in _files_of_dataset(source, out)}
        names, known = {file.name for file in source.files}, dict[str, str]()
        for file in sorted(out.glob("recordings/*.parquet")):
            place = file.relative_to(out).as_posix()
            expected = vouched.get(place)
            if expected is None and file.stem not in names and not is_sample_file(file):
                raise UsageError(f"{out}: holds {place}, which sltune did not write; choose another --out")
            metadata = stored_metadata(file)
            if "source_sha256" in metadata and _can_stay(source, file, expected):
                known[file.stem] = metadata["source_sha256"]
            else:
                (out / MANIFEST).unlink(missing_ok=True)
                file.unlink()
        # A killed import leaves the file that it was writing.
        for pattern in ("recordings/.*.parquet.*", f".{MANIFEST}.*", f".{WARNINGS}.*"):
            for leftover in out.glob(pattern):
                leftover.unlink()
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from error
    return known


def stored_findings(file: Path) -> tuple[Finding, ...]:
    """Return what the import that wrote a sample file found in its source.

    Raises:
        ValueError: the file does not say it, or not in this form.
    """
    found = stored_metadata(file).get("findings", "")
    return TypeAdapter(tuple[Finding, ...]).validate_json(found, strict=True)


def _can_stay(source: Source, file: Path, sha256: str | None) -> bool:
    """Say whether a sample file is as an import wrote it; sha256: its hash in the manifest, if there is one."""
    try:
        stored_findings(file)
        if sha256 is None:
            return not list(table_problems(read_table(file), source.classes, source.stored_sensor))
        # With the right hash, the events are those that were imported; the classes of the source may be others.
        short = read_table(file, columns=SHORT_COLUMNS)
        return file_sha256(file) == sha256 and not list(short_problems(short, source.classes))
    except (DataError, ValueError):
        return False


def _files_of_dataset(source: Source, out: Path) -> tuple[StoredFile, ...]:
    """Return what the manifest lists; nothing after a killed import, which leaves sample files without a manifest.

    Raises:
        UsageError: it is a dataset of another source, or there is no manifest and something else than sample files.
    """
    try:
        manifest = read_manifest(out)
    except DataError as error:
        own = (out / "recordings", out / MANIFEST, out / WARNINGS)
        for entry in sorted([*out.glob("*"), *out.glob("recordings/*")]):
            if entry not in own and entry.suffix != ".parquet" and not entry.name.startswith("."):
                text = f"{out}: exists and is not a dataset of sltune: it holds {entry.relative_to(out)}"
                raise UsageError(f"{text}; choose another --out or empty it") from error
        return ()
    if not _is_of(source, manifest):
        held, found = _kind_of(manifest, manifest.sensor), _kind_of(source, source.stored_sensor)
        raise UsageError(f"{out}: holds {held}; choose another --out for {found}")
    return manifest.files


def _is_of(source: Source, manifest: Manifest) -> bool:
    return _kind_of(source, source.stored_sensor) == _kind_of(manifest, manifest.sensor)


def _kind_of(dataset: Source | Manifest, sensor: tuple[int, int]) -> str:
    """Return what two imports into one folder must have in common."""
    merged = f", {dataset.downsample}×{dataset.downsample} merged into one" if dataset.downsample > 1 else ""
    return f"{'synthetic ' if dataset.synthetic else ''}{dataset.name} of {sensor[1]}×{sensor[0]} pixels{merged}"
