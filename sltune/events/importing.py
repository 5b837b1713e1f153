"""Import the files of a source into sample files; the manifest, which makes them a dataset, is written last."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from sltune import __version__
from sltune.errors import DataError, UsageError
from sltune.events.augmentations.events import POLARITIES
from sltune.events.existing import prepare, stored_findings
from sltune.events.frames import merged_pixels
from sltune.events.manifest import MANIFEST, WARNINGS, LeftOut, Manifest, StoredFile, is_addressable
from sltune.events.plausible import check_events, check_rates
from sltune.events.source import (
    MAX_SHOWN_ERRORS,
    Finding,
    Source,
    SourceFile,
    merged_size,
    refuse_errors,
    summarized,
)
from sltune.events.store import Sample, address_type, describe_file, encode_samples, fingerprint, read_table
from sltune.system.files import whole_file, write_whole
from sltune.system.limits import usable_cpus
from sltune.system.locks import LOCK, locked
from sltune.wording import first_of, spreadsheet_cell


@dataclass(frozen=True)
class Task:
    """A file to import. sensor, downsample: those of its source.

    known: the source's hash that an existing sample file was made from; None without one.
    """

    file: SourceFile
    sensor: tuple[int, int]
    known: str | None
    downsample: int = 1


@dataclass(frozen=True, eq=False)
class Encoded:
    """The result of a task.

    content: the bytes of the sample file; None if nothing could be read, or if the file exists already (is_known).
    """

    name: str
    content: pa.Buffer | None = None
    findings: tuple[Finding, ...] = ()
    is_known: bool = False


# Applies a function to tasks, many at once, and gives the results in any order.
Spread = Callable[[Callable[[Task], Encoded], Sequence[Task]], Iterator[Encoded]]


@dataclass(frozen=True)
class Imported:
    """A file that is done: what was found in it, and whether an earlier import had already stored it.

    stored: its entry in the manifest; None if nothing in it could be read.
    """

    name: str
    stored: StoredFile | None
    findings: tuple[Finding, ...]
    reused: bool


def import_source(
    source: Source,
    out: Path,
    strict: bool = False,
    skip_bad: bool = False,
    done: Callable[[Imported], object] = lambda _: None,
    spread: Spread | None = None,
) -> Manifest:
    """Write the samples of a source below ``out`` and return the manifest; unchanged files are not read again.

    Args:
        strict: treat every warning as an error.
        skip_bad: leave out the samples that cannot be read instead of refusing the source; the manifest names them.
        done: called after each file.
        spread: where files are read and encoded; None for threads of this process. Only this process writes.

    Raises:
        DataError: something cannot be read; names up to 20 places at once. No manifest is written then. Or the sensor
            has more pixels than there are addresses.
        UsageError: ``out`` holds something else, is in use by another import, or cannot be written; or more pixels are
            to be merged than the sensor has.
    """
    height, width = source.sensor
    if not is_addressable(source.sensor):
        text = f"a sensor of {width}×{height} pixels has more addresses than 32 bits can tell"
        raise DataError(f"{source.name}: {text}; if events are damaged, --sensor WxH names the first one outside")
    if min(source.stored_sensor) < 1:
        raise UsageError(f"--downsample {source.downsample}: the sensor has {width}×{height} pixels only")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; --out names a folder")
    with locked(out / LOCK):
        refuse = partial(refuse_errors, strict=strict, skip_bad=skip_bad)
        return _import(source, out, refuse, done, spread or in_threads(usable_cpus()))


def in_threads(threads: int) -> Spread:
    """Return a spread over threads; hashing, decoding and compression all run outside Python's lock."""

    def spread(work: Callable[[Task], Encoded], tasks: Sequence[Task]) -> Iterator[Encoded]:
        with ThreadPoolExecutor(threads) as pool:
            waiting, running = deque(tasks), set[Future[Encoded]]()
            while waiting or running:
                # Only one more than can run: each result holds the bytes of a file until it is written.
                while waiting and len(running) <= threads:
                    running.add(pool.submit(work, waiting.popleft()))
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)

    return spread


def encode_file(task: Task) -> Encoded:
    """Read one file of a source and return its samples as a sample file, or a finding that says why it cannot be."""
    name = task.file.name
    try:
        sha256 = task.file.sha256()
        if task.downsample > 1:
            sha256 = hashlib.sha256(f"{sha256} {task.downsample}".encode()).hexdigest()
        if sha256 == task.known:
            return Encoded(name, is_known=True)
        samples, all_found = task.file.load()
        all_found = [*all_found, *check_events(samples, task.sensor)]
        if task.downsample > 1:
            samples, left_out = merge_pixels(name, samples, task.sensor, task.downsample)
            all_found = [*all_found, *left_out]
        found = summarized(name, all_found)
        if not samples:
            return Encoded(name, findings=(*found, Finding(name, "holds no samples", is_error=True, lost=(name,))))
        metadata = {"source_sha256": sha256, "findings": json.dumps([asdict(finding) for finding in found])}
        return Encoded(name, encode_samples(samples, merged_size(task.sensor, task.downsample), metadata), found)
    except DataError as error:
        place, _, text = str(error).partition(": ")
        return Encoded(name, findings=(Finding(place, text, is_error=True, lost=(name,)),))


def merge_pixels(
    name: str, samples: Iterable[Sample], sensor: tuple[int, int], factor: int
) -> tuple[list[Sample], list[Finding]]:
    """Return the samples of a file with factor × factor pixels merged into one, and what was left out of them.

    As in frames that are downsampled, the edges that fill no whole pixel are left out.

    Raises:
        DataError: an address lies outside the sensor.
    """
    size, kept, findings, left_out = merged_size(sensor, factor), list[Sample](), list[Finding](), 0
    pixel = merged_pixels(sensor, size, (size[0] * factor, size[1] * factor))
    polarities = np.arange(POLARITIES)
    merged = (pixel[:, None] * POLARITIES + polarities).ravel().astype(address_type(size).to_pandas_dtype())
    inside = np.repeat(pixel >= 0, POLARITIES)
    for sample in samples:
        if sample.address.max(initial=0) >= len(merged):
            raise DataError(
                f"{sample.sample_id}: has addresses outside of its sensor of {sensor[1]}x{sensor[0]} pixels"
            )
        is_kept = slice(None) if inside.all() else inside[sample.address]
        address, time_us = merged[sample.address[is_kept]], sample.time_us[is_kept]
        left_out += sample.events - len(address)
        if not len(address):
            text = f"all of its events lie at the edges that fill no whole pixel of {factor}×{factor}"
            findings.append(Finding(sample.sample_id, text, is_error=True, lost=(sample.sample_id,)))
            continue
        first_us = time_us.min()
        time_us = time_us - first_us if first_us else time_us
        kept.append(replace(sample, start_us=sample.start_us + int(first_us), address=address, time_us=time_us))
    if left_out:
        text = f"{left_out:,} events at the edges are left out, as they fill no whole pixel of {factor}×{factor}"
        findings.append(Finding(name, text))
    return kept, findings


def _import(
    source: Source,
    out: Path,
    refuse: Callable[[Sequence[Finding]], None],
    done: Callable[[Imported], object],
    spread: Spread,
) -> Manifest:
    """Read what has changed; unless the findings are refused, write warnings and, last of all, the manifest."""
    # What is wrong in a listing is said before hours of reading, warnings with all others after it.
    refuse([finding for finding in source.findings if finding.is_error])
    results = _read_files(source, out, done, spread)
    stored = [result.stored for result in results if result.stored is not None]
    findings = [*source.findings, *chain.from_iterable(result.findings for result in results)]
    if not stored:
        errors = [str(finding) for finding in findings if finding.is_error]
        raise DataError("\n".join(first_of(["nothing could be imported", *errors], MAX_SHOWN_ERRORS)))
    columns = pa.concat_tables(
        read_table(out / file.file, columns=["recording", "digest", "duration_us", "events"]) for file in stored
    )
    if source.check is not None:
        recordings = list(dict.fromkeys(columns["recording"].to_pylist()))
        findings += source.check(recordings, columns["duration_us"].to_numpy() / 1000)
    findings += summarized(source.name, check_rates(columns))
    refuse(findings)
    manifest = _manifest(source, stored, columns, findings)
    write_whole(out / WARNINGS, _warnings_csv(findings), inside=out)
    write_whole(out / MANIFEST, manifest.to_json(), inside=out)
    for stray in set(out.glob("recordings/*.parquet")) - {out / file.file for file in stored}:
        stray.unlink()
    return manifest


def _read_files(source: Source, out: Path, done: Callable[[Imported], object], spread: Spread) -> list[Imported]:
    """Read, encode and write the files of a source; return the results in the order of the source."""
    known = prepare(source, out)
    # The largest file comes first, so that the last cores finish at about the same time.
    largest_first = sorted(source.files, key=lambda file: -file.size)
    tasks = [Task(file, source.sensor, known.get(file.name), source.downsample) for file in largest_first]
    results = dict[str, Imported]()
    for encoded in spread(encode_file, tasks):
        results[encoded.name] = _store(out, encoded)
        done(results[encoded.name])
    return [results[file.name] for file in source.files]


def _manifest(source: Source, stored: Sequence[StoredFile], columns: pa.Table, findings: Sequence[Finding]) -> Manifest:
    durations_ms = columns["duration_us"].to_numpy() / 1000
    statistics = (("min", np.min), ("mean", np.mean), ("std", np.std), ("max", np.max))
    return Manifest(
        name=source.name,
        synthetic=source.synthetic,
        sensor=source.stored_sensor,
        classes=source.classes,
        fingerprint=fingerprint(columns["digest"].to_pylist()),
        files=tuple(stored),
        durations_ms={name: round(float(function(durations_ms)), 3) for name, function in statistics},
        warnings=tuple(map(str, findings)),
        left_out=tuple(LeftOut(name, str(finding)) for finding in findings for name in finding.lost),
        sltune=__version__,
        orientation=source.orientation,
        downsample=source.downsample,
    )


def _store(out: Path, encoded: Encoded) -> Imported:
    """Write the result of a task; a file that exists already keeps its bytes and the findings stored in it."""
    target = out / "recordings" / f"{encoded.name}.parquet"
    if encoded.is_known:
        return Imported(encoded.name, describe_file(out, target), stored_findings(target), reused=True)
    if encoded.content is None:
        return Imported(encoded.name, None, encoded.findings, reused=False)
    with whole_file(target, inside=out) as handle:
        handle.write(encoded.content)
        handle.flush()
        # From here on the manifest is wrong. It goes only now, so that a full disk leaves the earlier dataset whole.
        (out / MANIFEST).unlink(missing_ok=True)
    return Imported(encoded.name, describe_file(out, target), encoded.findings, reused=False)


def _warnings_csv(findings: Sequence[Finding]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["severity", "place", "text", "left_out"])
    for finding in findings:
        severity = "error" if finding.is_error else "warning"
        cells = (severity, finding.place, finding.text, " ".join(finding.lost))
        writer.writerow(map(spreadsheet_cell, cells))
    return text.getvalue()
