"""What an import finds in the folder that it writes to: which files of an earlier one can stay, and what is none."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from sltune.errors import DataError, UsageError
from sltune.events.manifest import MANIFEST, WARNINGS, Manifest, StoredFile, read_manifest
from sltune.events.source import Finding, Source
from sltune.events.store import SHORT_COLUMNS, file_sha256, is_sample_file, read_table, stored_metadata
from sltune.events.verify import event_problems, short_problems
from sltune.wording import first_of

SHOWN_NAMES = 5


def refuse_dropping(source: Source, out: Path) -> None:
    """Refuse an import that would take recordings out of a dataset, as their files may have been moved by mistake.

    Raises:
        UsageError: the dataset, or what a killed import has left of it, holds recordings that the source has not.
    """
    here = {name for file in source.files for name in (file.name, *file.recordings)}
    try:
        manifest = read_manifest(out)
        # Of another source's dataset the import says what it is.
        held = [name for file in manifest.files for name in file.recordings] if _is_of(source, manifest) else []
    except DataError:
        held = [file.stem for file in sorted(out.glob("recordings/*.parquet")) if stored_metadata(file)]
    if gone := [name for name in held if name not in here]:
        raise UsageError(
            f"{out}: holds {len(held)} recordings, of which {len(gone)} are not in the source any more: "
            f"{', '.join(first_of(gone, SHOWN_NAMES))}; nothing was changed. Choose another --out, "
            "or drop them from the dataset with --replace"
        )


def prepare(source: Source, out: Path) -> dict[str, str]:
    """Make out ready, and return the hash of the source of each sample file in it that can stay.

    Takes damaged files away.

    Raises:
        UsageError: out is no dataset, or one of another source, or holds files that no import wrote.
    """
    if (out / "recordings").is_symlink():
        raise UsageError(
            f"{out / 'recordings'}: is a link; only a folder in its place is written to, or --out elsewhere"
        )
    try:
        vouched = {file.file: file.sha256 for file in _files_of_dataset(source, out)}
        names, known = {file.name for file in source.files}, dict[str, str]()
        for file in sorted(out.glob("recordings/*.parquet")):
            expected = vouched.get(file.relative_to(out).as_posix())
            if expected is None and file.stem not in names and not is_sample_file(file):
                raise UsageError(f"{out}: holds {file.relative_to(out)}, which is not of sltune; choose another --out")
            metadata = stored_metadata(file)
            if "source_sha256" in metadata and _can_stay(source, file, expected):
                known[file.stem] = metadata["source_sha256"]
            else:
                (out / MANIFEST).unlink(missing_ok=True)
                file.unlink()
        # What a killed import was writing.
        for leftover in [
            *out.glob("recordings/.*.parquet.*"),
            *out.glob(f".{MANIFEST}.*"),
            *out.glob(f".{WARNINGS}.*"),
        ]:
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
    """Say whether a sample file is as an import wrote it: by the manifest, else by the checksums within it."""
    try:
        stored_findings(file)
        if sha256 is not None and file_sha256(file) != sha256:
            return False
        table = read_table(file, columns=SHORT_COLUMNS if sha256 is not None else None)
        problems = [*short_problems(table, source.classes)]
        return not problems and (sha256 is not None or not [*event_problems(table, source.sensor)])
    except (DataError, ValueError):
        return False


def _files_of_dataset(source: Source, out: Path) -> tuple[StoredFile, ...]:
    """Return what the manifest lists; nothing where an import was killed, which leaves only sample files.

    Raises:
        UsageError: it is another source's dataset, or there is no manifest, but something else than sample files.
    """
    try:
        manifest = read_manifest(out)
    except DataError as error:
        own = (out / "recordings", out / MANIFEST, out / WARNINGS)
        for entry in sorted([*out.glob("*"), *out.glob("recordings/*")]):
            if entry not in own and entry.suffix != ".parquet" and not entry.name.startswith("."):
                text = f"{out}: exists and is no sltune dataset, it holds {entry.relative_to(out)}"
                raise UsageError(f"{text}; choose another --out or empty it") from error
        return ()
    if not _is_of(source, manifest):
        kinds = [f"{'synthetic ' if each.synthetic else ''}{each.name}" for each in (manifest, source)]
        raise UsageError(f"{out}: holds {kinds[0]}; choose another --out for {kinds[1]}")
    return manifest.files


def _is_of(source: Source, manifest: Manifest) -> bool:
    here, there = ((each.name, each.sensor, each.synthetic) for each in (manifest, source))
    return here == there
