"""How a command finds its Postroom, and what it says when there is none."""

import os
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from postroom_cli.places import default_data, write_private
from postroom_testing.core import ADMIN_TOKEN

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


def test_without_an_instance_it_says_what_to_do(run: Run, tmp_path: Path) -> None:
    ended = run("status", "--data", str(tmp_path / "none"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"postroom: no Postroom runs on {tmp_path}/none (No such file or directory); "
        "name its directory with --data, or set POSTROOM_URL and POSTROOM_TOKEN\n"
    )


def test_url_and_token_of_the_environment_come_first(
    run: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTROOM_URL", url + "/")
    monkeypatch.setenv("POSTROOM_TOKEN", ADMIN_TOKEN)
    assert run("status", "--data", str(tmp_path)).returncode == 0


@pytest.mark.parametrize("name", ["POSTROOM_URL", "POSTROOM_TOKEN"])
def test_one_of_the_two_is_not_enough(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    ended = run("status")
    assert (ended.returncode, ended.stderr) == (
        2,
        "postroom: set both POSTROOM_URL and POSTROOM_TOKEN, or neither\n",
    )


def test_the_data_directory_may_come_from_the_environment(
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTROOM_DATA", str(data))
    assert run("status").returncode == 0


def test_nobody_answers(run: Run, data: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # and does not listen
        (data / "api.url").write_text(f"http://127.0.0.1:{sock.getsockname()[1]}\n")
        ended = run("status", "--data", str(data))
    assert ended.returncode == 1
    assert re.fullmatch(r"postroom: http://127\.0\.0\.1:\d+ does not answer: ConnectError\n", ended.stderr)


def test_what_is_no_url_is_one_line(run: Run, data: Path) -> None:
    for nonsense in ("", "gopher://x", "http://[", "nonsense"):
        (data / "api.url").write_text(nonsense)
        ended = run("status", "--data", str(data))
        assert (ended.returncode, ended.stdout) == (1, ""), nonsense
        assert re.fullmatch(r"postroom: .+\n", ended.stderr), nonsense


def test_a_server_that_is_no_postroom_is_one_line(run: Run, url: str, data: Path) -> None:
    (data / "api.url").write_text(f"{url}/elsewhere\n")
    ended = run("status", "--data", str(data))
    assert ended.returncode == 1
    assert re.fullmatch(r"postroom: .+\n", ended.stderr)


def test_a_wrong_token_is_refused(run: Run, data: Path) -> None:
    (data / "admin.token").write_text("wrong\n")
    ended = run("status", "--data", str(data))
    assert ended.returncode == 1
    assert re.fullmatch(r"postroom: .+\n", ended.stderr)
    assert "wrong\n" not in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["status", "--nonsense"], ["domain", "add"], ["up", "--port-base", "40000"], ["up", "x"]],
)
def test_wrong_usage_has_status_2(run: Run, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Usage: postroom" in ended.stderr


def test_help_names_every_command(run: Run) -> None:
    ended = run("--help")
    assert ended.returncode == 0
    for command in ("up", "status", "domain", "account", "alias", "queue"):
        assert re.search(rf"\b{command}\b", ended.stdout)


def test_where_data_lie_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data() == Path("/var/lib/postroom")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert default_data() == tmp_path / ".local" / "share" / "postroom"
    monkeypatch.setenv("XDG_DATA_HOME", "/x")
    assert default_data() == Path("/x/postroom")
    monkeypatch.setenv("POSTROOM_DATA", "/y")
    assert default_data() == Path("/y")


def test_what_is_private_is_written_whole_and_for_us_alone(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]
