"""An S3 server on this machine (moto's), for tests of data and checkpoints that lie in an object store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sltune.system import remote

BUCKET = "recordings"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "hidden-key", "AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True)
class Bucket:
    """A bucket of the server at an endpoint. client: boto3's."""

    endpoint: str
    client: Any

    def uri(self, path: str) -> str:
        return f"s3://{BUCKET}/{path}"

    def upload(self, folder: Path, path: str) -> str:
        """Copy a folder as the cloud's own tools do; return its URI."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.client.upload_file(str(file), BUCKET, f"{path}/{file.relative_to(folder).as_posix()}")
        return self.uri(path)

    def names(self) -> list[str]:
        """Return the objects of the bucket, without the empty ones that stand for folders."""
        found = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [each["Key"] for each in found if not each["Key"].endswith("/")]


@contextmanager
def serving() -> Iterator[Bucket]:
    """Run a server with a bucket, which the environment names; skip the test without moto (see CONTRIBUTING.md)."""
    server_of = pytest.importorskip(
        "moto.server", reason="needs: pip install 'moto[s3]' flask flask-cors"
    ).ThreadedMotoServer
    import boto3

    server = server_of(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        server.start()
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        forget()
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield Bucket(endpoint, client)
        server.stop()
    forget()


def forget() -> None:
    """Have what the environment names be looked up again."""
    remote._opened.cache_clear()
    remote._s3.cache_clear()
