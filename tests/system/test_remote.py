"""Data and checkpoints that lie at a URI, on a real S3 server; what fails there is said in words."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner

import sltune
from sltune.cli.main import main
from sltune.errors import DataError, UsageError
from sltune.events.dataset import open_dataset
from sltune.events.verify import verify_dataset
from sltune.runs.record import TrialKey
from sltune.system import remote
from sltune.system.remote import RemotePath, opened_file, path_or_uri, sizes_in
from sltune.tuning.trial.checkpoints import Checkpoints
from tests.s3 import Bucket, forget, serving

KEY = TrialKey("c0003", 0, 1)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def uploaded(bucket: Bucket, imported_dataset: Path) -> str:
    return bucket.upload(imported_dataset, "sets/small data")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait for servers less long, so that the tests do."""
    monkeypatch.setattr(remote, "SILENCE_S", 1.0)
    monkeypatch.setattr(remote, "ATTEMPTS", 1)
    forget()
    yield
    forget()


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_dataset_in_a_bucket_has_the_events_of_its_folder(uploaded: str, imported_dataset: Path) -> None:
    there, here = open_dataset(path_or_uri(uploaded)), open_dataset(imported_dataset)
    assert there.manifest == here.manifest
    assert len(there.samples) == len(here.samples) == 48
    for index in range(48):
        for one, other in zip(there.samples.events(index), here.samples.events(index), strict=True):
            assert (one == other).all()
    assert verify_dataset(path_or_uri(uploaded)).samples == 48


def test_verbs_and_notebooks_take_a_uri_as_data(uploaded: str, imported_dataset: Path, tmp_path: Path) -> None:
    here, there = (run("inspect", place, "--verify") for place in (str(imported_dataset), uploaded))
    assert there.replace(uploaded, str(imported_dataset)).split() == here.split()
    sample = run("inspect", uploaded, "--samples").split()[0]
    run("show", uploaded, sample, "--out", str(tmp_path / "one.png"))
    assert (tmp_path / "one.png").stat().st_size > 0
    assert len(sltune.open_dataset(uploaded)) == 48
    assert len(sltune.open_dataset(imported_dataset.as_uri())) == 48


def test_options_of_a_uri_follow_the_names_of_files() -> None:
    place = path_or_uri("s3://bucket/data/?endpoint_override=host:9&scheme=http")
    assert str(place / "manifest.json") == "s3://bucket/data/manifest.json?endpoint_override=host:9&scheme=http"
    assert (place.name, (place / "manifest.json").name) == ("data", "manifest.json")


def test_a_server_may_be_named_in_the_uri(bucket: Bucket, uploaded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    forget()
    place = path_or_uri(f"{uploaded}?endpoint_override={bucket.endpoint.removeprefix('http://')}&scheme=http")
    assert len(open_dataset(place).samples) == 48
    with pytest.raises(UsageError, match=r"behind the \? may stand region, scheme, endpoint_override, but not colour"):
        open_dataset(path_or_uri(f"{uploaded}?colour=red"))
    forget()


def test_what_is_not_there_is_named(bucket: Bucket, uploaded: str) -> None:
    with pytest.raises(
        DataError, match=r"s3://nobody/x: is not a dataset \(manifest.json: there is no bucket nobody\)"
    ):
        open_dataset(path_or_uri("s3://nobody/x"))
    with pytest.raises(DataError, match=r"none: is not a dataset \(manifest.json: there is no such object\)"):
        open_dataset(path_or_uri(bucket.uri("none")))


def test_a_copy_that_was_stopped_on_its_way_is_no_dataset(bucket: Bucket, imported_dataset: Path) -> None:
    """Tools copy manifest.json first, which comes first in the alphabet."""
    bucket.client.upload_file(str(imported_dataset / "manifest.json"), "recordings", "partial/manifest.json")
    with pytest.raises(DataError, match=r"cannot be \d+ events|cannot be read: there is no such object"):
        open_dataset(path_or_uri(bucket.uri("partial")))


def test_a_damaged_object_is_found_when_its_events_are_read(bucket: Bucket, imported_dataset: Path) -> None:
    uri = bucket.upload(imported_dataset, "damaged")
    name = open_dataset(imported_dataset).manifest.files[0].file
    content = bytearray((imported_dataset / name).read_bytes())
    content[len(content) // 2] ^= 1
    bucket.client.put_object(Bucket="recordings", Key=f"damaged/{name}", Body=bytes(content))
    with pytest.raises(DataError, match=f"damaged/{name}: is damaged: its sha256 is not the manifest's"):
        verify_dataset(path_or_uri(uri))


def test_a_secret_in_a_uri_is_refused_and_not_repeated(tmp_path: Path) -> None:
    for uri in ("s3://me:hidden@bucket/data", "s3://bucket/data?secret_key=hidden"):
        with pytest.raises(UsageError, match="a password or key must not stand on the command line") as refusal:
            sltune.open_dataset(uri)
        result = CliRunner().invoke(main, ["inspect", uri])
        assert result.exit_code == 2
        assert "hidden" not in f"{refusal.value}{result.output}"


def test_where_only_a_folder_can_be_a_uri_is_refused(dataset: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["import", str(dataset), "--out", "s3://bucket/data"])
    assert result.exit_code == 2
    assert "'s3://bucket/data' is a URI" in result.output
    assert "copy by the cloud's own tools" in result.output
    with pytest.raises(UsageError, match="'s3://bucket/data' is a URI"):
        sltune.import_recordings(dataset, "s3://bucket/data")


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_not_there_or_says_nothing_is_named_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        uri, started = f"s3://bucket/data?endpoint_override={address}&scheme=http", time.monotonic()
        with pytest.raises(DataError, match=r"cannot be read: the server does not answer \(Failed to connect"):
            open_dataset(path_or_uri(uri))
        silent.listen()
        with pytest.raises(DataError, match=r"cannot be read: the server does not answer \(Operation too slow"):
            open_dataset(path_or_uri(uri))
    assert time.monotonic() - started < 15


@pytest.mark.usefixtures("impatient")
def test_where_access_is_denied_it_is_said_where_credentials_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    server = HTTPServer(("127.0.0.1", 0), _Denying)
    Thread(target=server.serve_forever, daemon=True).start()
    uri = f"s3://bucket/data?endpoint_override=127.0.0.1:{server.server_port}&scheme=http"
    with pytest.raises(DataError, match=r"access is denied, or no credentials were found; .* AWS_ACCESS_KEY_ID"):
        open_dataset(path_or_uri(uri))
    server.shutdown()
    server.server_close()


class _Denying(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *_: object) -> None:
        pass


def test_a_checkpoint_in_a_bucket_is_read_back_until_the_trial_has_ended(bucket: Bucket) -> None:
    place = Checkpoints(0, bucket.uri("states"), "run")
    place.check()
    assert place.read(KEY) is None
    place.write(KEY, b"first")
    place.write(KEY, b"second")
    assert place.read(KEY) == b"second"
    assert [name for name in bucket.names() if name.startswith("states")] == ["states/run/c0003-f1-s0.pt"]
    place.delete(KEY)
    assert place.read(KEY) is None
    with pytest.raises(
        UsageError, match=r"--checkpoints s3://nobody/x: .* cannot be written: there is no bucket nobody"
    ):
        Checkpoints(0, "s3://nobody/x", "run").check()


def test_a_large_object_is_refused_before_it_is_read(bucket: Bucket) -> None:
    bucket.client.put_object(Bucket="recordings", Key="large", Body=bytes(2000))
    with pytest.raises(OSError, match="has 0 MB, more than"), opened_file(RemotePath(bucket.uri("large")), 1999):
        pass
    assert sizes_in(RemotePath("s3://recordings/"))["large"] == 2000
