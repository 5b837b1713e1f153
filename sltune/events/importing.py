"""Import: a source's files into sample files and, last of all, the manifest that makes them a dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from sltune import __version__
from sltune.errors import DataError, UsageError
from sltune.events.source import Finding, Source, SourceFile
from sltune.events.store import (
    MANIFEST,
    Manifest,
    StoredFile,
    describe_file,
    file_sha256,
    fingerprint,
    read_manifest,
    read_table,
    stored_metadata,
    write_samples,
)
from sltune.files import write_whole

SHOWN_ERRORS = 20


@dataclass(frozen=True)
class Imported:
    """One file done: what was found in it, and whether an earlier import had already done it."""

    stored: StoredFile
    findings: tuple[Finding, ...]
    reused: bool


def import_source(
    source: Source,
    out: Path,
    strict: bool = False,
    skip_bad: bool = False,
    done: Callable[[Imported], object] = lambda _: None,
) -> Manifest:
    """Write a source's samples below out and return the manifest; files that did not change are not done again.

    Args:
        strict: take every warning for an error.
        skip_bad: leave out what cannot be read instead of refusing the source; the manifest names it.
        done: called after each file.

    Raises:
        DataError: something cannot be read; names up to 20 places at once. No manifest is written then.
        UsageError: out holds something else, or cannot be written.
    """
    _prepare(source, out)
    results, unreadable = list[Imported](), list[str]()
    for file in source.files:
        try:
            results.append(_import_file(source, file, out))
            done(results[-1])
        except DataError as error:
            unreadable += str(error).splitlines()
    findings = [*source.findings, *chain.from_iterable(result.findings for result in results)]
    errors = [*unreadable, *(str(finding) for finding in findings if finding.is_error or strict)]
    if errors and (strict or not skip_bad):
        raise DataError(_list_errors(errors))
    if not results:
        raise DataError(_list_errors(["nothing could be imported", *errors]))
    manifest = _manifest(source, out, results, [*unreadable, *map(str, findings)])
    write_whole(out / MANIFEST, manifest.to_json())
    for stray in set(out.glob("recordings/*.parquet")) - {out / file.file for file in manifest.files}:
        stray.unlink()
    return manifest


def _prepare(source: Source, out: Path) -> None:
    """Make out ready: refuse what is no dataset, or one of another source, and take damaged files away."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out}: is a file; --out names a folder")
    try:
        for file in _files_of_dataset(source, out):
            if (out / file.file).is_file() and file_sha256(out / file.file) != file.sha256:
                (out / MANIFEST).unlink(missing_ok=True)
                (out / file.file).unlink()
        # What a killed import was writing.
        for leftover in out.glob("recordings/.*.parquet.*"):
            leftover.unlink()
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from error


def _files_of_dataset(source: Source, out: Path) -> tuple[StoredFile, ...]:
    """Return what the manifest lists; nothing where an import was killed, which leaves only sample files.

    Raises:
        UsageError: it is another source's dataset, or there is no manifest, but something else than sample files.
    """
    try:
        manifest = read_manifest(out)
        if (manifest.name, manifest.sensor) != (source.name, source.sensor):
            raise UsageError(f"{out}: holds {manifest.name}; choose another --out for {source.name}")
        return manifest.files
    except DataError as error:
        own = (out / "recordings", out / MANIFEST)
        for entry in sorted([*out.glob("*"), *out.glob("recordings/*")]):
            if entry not in own and entry.suffix != ".parquet" and not entry.name.startswith("."):
                text = f"{out}: exists and is no sltune dataset, it holds {entry.relative_to(out)}"
                raise UsageError(f"{text}; choose another --out or empty it") from error
        return ()


def _import_file(source: Source, file: SourceFile, out: Path) -> Imported:
    """Import one file, unless the one there was made from the same bytes; its findings are kept inside it."""
    target = out / "recordings" / f"{file.name}.parquet"
    sha256 = file.sha256()
    earlier = _reuse(out, target, sha256)
    if earlier:
        return earlier
    samples, found = file.load()
    if not samples:
        raise DataError("\n".join(map(str, found)) or f"{file.name}: holds no samples")
    metadata = {"source_sha256": sha256, "findings": json.dumps([asdict(finding) for finding in found])}
    # From here on the manifest would be untrue; a source that cannot be read leaves the dataset as it was.
    try:
        (out / MANIFEST).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from error
    write_samples(target, samples, source.sensor, metadata)
    return Imported(describe_file(out, target), tuple(found), reused=False)


def _reuse(out: Path, target: Path, sha256: str) -> Imported | None:
    metadata = stored_metadata(target)
    if metadata.get("source_sha256") != sha256:
        return None
    try:
        stored = describe_file(out, target)
    except DataError:
        return None
    findings = tuple(Finding(**finding) for finding in json.loads(metadata["findings"]))
    return Imported(stored, findings, reused=True)


def _manifest(source: Source, out: Path, results: Sequence[Imported], warnings: Sequence[str]) -> Manifest:
    columns = pa.concat_tables(
        read_table(out / result.stored.file, columns=["digest", "duration_us"]) for result in results
    )
    durations = columns["duration_us"].to_numpy() / 1000
    return Manifest(
        name=source.name,
        synthetic=source.synthetic,
        sensor=source.sensor,
        classes=source.classes,
        fingerprint=fingerprint(columns["digest"].to_pylist()),
        files=tuple(result.stored for result in results),
        durations_ms={
            name: round(float(function(durations)), 3)
            for name, function in (("min", np.min), ("mean", np.mean), ("std", np.std), ("max", np.max))
        },
        warnings=tuple(warnings),
        sltune=__version__,
    )


def _list_errors(errors: Sequence[str]) -> str:
    hidden = len(errors) - SHOWN_ERRORS
    return "\n".join([*errors[:SHOWN_ERRORS], *([f"… and {hidden} more"] if hidden > 0 else [])])
