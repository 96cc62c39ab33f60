"""A real S3-compatible server on loopback: a folder whose subfolders are buckets."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RCLONE = Path(sys.executable).with_name("rclone")
KEY, SECRET = "loopback", "loopback-secret"


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Serve a folder; gives the variables by which clients find it and sign their requests."""
    command = [str(RCLONE), "serve", "s3", "-v", "--addr", "127.0.0.1:0"]
    command += ["--auth-key", f"{KEY},{SECRET}", "--read-only", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            lines = iter(server.stderr.readline, "")
            address = next(m[0] for line in lines if (m := re.search(r"http://[0-9.:]+", line)))
            yield {
                "AWS_ENDPOINT_URL_S3": address,
                "AWS_ACCESS_KEY_ID": KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_REGION": "us-east-1",
            }
        finally:
            server.kill()
