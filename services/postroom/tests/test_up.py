"""`postroom up` where it cannot start: one line and status 2."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from postroom_embedded.instance import open_instance
from postroom_testing.running import free_base

COMMAND = [sys.executable, "-c", "from postroom_cli.main import main; main()", "up"]


def up(*arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, **environment},
    )


def said(ended: "subprocess.CompletedProcess[str]") -> str:
    """The one line."""
    assert (ended.returncode, ended.stdout) == (2, ""), ended
    (line,) = ended.stderr.splitlines()
    return line.removeprefix("postroom: ")


def test_a_data_directory_in_use(place: Path) -> None:
    with open_instance(place / "data"):
        line = said(up("--data", place / "data"))
    assert line == (
        f"the data directory {place}/data is in use by another Postroom (process {os.getpid()}); "
        "stop that one or choose another with --data"
    )


def test_a_port_in_use(place: Path) -> None:
    base = free_base()
    port = base + 25
    with socket.create_server(("127.0.0.1", port)):
        line = said(up("--data", place / "data", "--port-base", str(base)))
    assert line.startswith(f"port {port} on 127.0.0.1 (")
    assert line.endswith(
        f") is in use by another process; choose others with --port-base (now {base}) or --bind"
    )


def test_a_directory_that_cannot_be_written() -> None:
    line = said(up("--data", "/proc/postroom"))
    assert line.startswith("cannot use the directory /proc/postroom: ")
    assert line.endswith("; choose another with --data")


def test_a_file_where_the_directory_should_be(place: Path) -> None:
    (place / "data").write_text("")
    assert said(up("--data", place / "data")).startswith(f"cannot use the directory {place}/data: ")


def test_an_address_that_is_not_of_this_machine(place: Path) -> None:
    line = said(up("--data", place / "data", "--bind", "192.0.2.1"))
    assert "192.0.2.1" in line
    assert "--bind" in line


def test_a_database_that_is_not_there(place: Path) -> None:
    base, nobody = str(free_base()), "postgresql://x@127.0.0.1:9/x"
    line = said(up("--data", place / "data", "--port-base", base, "--database-url", nobody))
    assert "--database-url" in line


def test_an_object_store_needs_its_keys(place: Path) -> None:
    line = said(up("--data", place / "data", "--s3-url", "http://127.0.0.1:9"))
    assert line == "--s3-url needs POSTROOM_S3_ACCESS_KEY and POSTROOM_S3_SECRET_KEY"
    assert not (place / "data").exists()
