"""Import: a source's files into sample files and, last of all, the manifest that makes them a dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sltune import __version__
from sltune.errors import DataError, UsageError
from sltune.events.source import Finding, Source, SourceFile
from sltune.events.store import (
    MANIFEST,
    Manifest,
    StoredFile,
    describe_file,
    fingerprint,
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
    _prepare(out)
    results, unreadable = list[Imported](), list[str]()
    for file in source.files:
        try:
            results.append(_import_file(source, file, out))
            done(results[-1])
        except DataError as error:
            unreadable.append(str(error))
    findings = [*source.findings, *chain.from_iterable(result.findings for result in results)]
    errors = [*unreadable, *(str(finding) for finding in findings if finding.is_error or strict)]
    if errors and (strict or not skip_bad):
        raise DataError(_list_errors(errors))
    if not results:
        raise DataError(_list_errors(["nothing could be imported", *errors]))
    manifest = _manifest(source, out, results, [*unreadable, *map(str, findings)])
    write_whole(out / MANIFEST, manifest.to_json())
    return manifest


def _prepare(out: Path) -> None:
    """Make out ready: refuse what is no dataset, and withdraw the manifest, which may soon be untrue."""
    if out.is_dir() and any(out.iterdir()):
        if not (out / "recordings").is_dir() or any(out.glob("recordings/*.aedat")):
            raise UsageError(f"{out}: exists and is no sltune dataset; choose another --out or empty it")
        (out / MANIFEST).unlink(missing_ok=True)
    elif out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; --out names a folder")


def _import_file(source: Source, file: SourceFile, out: Path) -> Imported:
    """Import one file, unless the one there was made from the same bytes; its findings are kept inside it."""
    target = out / "recordings" / f"{file.name}.parquet"
    sha256 = file.sha256()
    metadata = stored_metadata(target)
    if metadata.get("source_sha256") == sha256:
        findings = tuple(Finding(**finding) for finding in json.loads(metadata["findings"]))
        return Imported(describe_file(out, target), findings, reused=True)
    samples, found = file.load()
    if not samples:
        raise DataError("\n".join(map(str, found)) or f"{file.name}: holds no samples")
    metadata = {"source_sha256": sha256, "findings": json.dumps([asdict(finding) for finding in found])}
    write_samples(target, samples, source.sensor, metadata)
    return Imported(describe_file(out, target), tuple(found), reused=False)


def _manifest(source: Source, out: Path, results: Sequence[Imported], warnings: Sequence[str]) -> Manifest:
    columns = pa.concat_tables(
        pq.read_table(out / result.stored.file, columns=["digest", "duration_us"]) for result in results
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
