"""Services as processes: entry points, exit statuses, signals, the health port, the log."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVICE = """
import gc

from postroom_runtime.errors import DependencyError, FindingsError
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.logs import log
from postroom_runtime.service import Service, Verb, main
from postroom_runtime.settings import ServiceSettings
from pydantic_settings import SettingsConfigDict


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="POSTROOM_TINY_")

    port: int = 1
    trouble: str = ""


async def serve(settings: Settings, lifecycle: Lifecycle) -> None:
    if settings.trouble == "bug":
        raise ZeroDivisionError
    lifecycle.mark_ready()
    log.info("serving", octets=b"\\xff", port=settings.port, settled=gc.get_freeze_count() > 10_000)
    await lifecycle.wait_stopping(1.0)


async def check(settings: Settings) -> None:
    if settings.trouble == "dependency":
        raise DependencyError("nobody there")
    if settings.trouble == "transient":
        from postroom_contracts.errors import UnavailableError
        raise UnavailableError("nobody there")


class CountSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="POSTROOM_COUNTING_")

    sheep: int


async def count(settings: CountSettings) -> None:
    log.info("counted", sheep=settings.sheep)
    if settings.sheep > 1:
        raise FindingsError("more than one")


main(Service("tiny", Settings, serve, check=check, verbs={"count": Verb(CountSettings, count)}))
"""


class Tiny:
    def __init__(self, directory: Path) -> None:
        self.program = directory / "tiny.py"
        self.program.write_text(SERVICE)
        self.socket = directory / "health"
        self._running: list[subprocess.Popen[str]] = []

    def start(self, command: str, **variables: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "POSTROOM_TINY_HEALTH_ADDRESS": f"unix:{self.socket}"}
        environment |= {f"POSTROOM_TINY_{name.upper()}": value for name, value in variables.items()}
        process = subprocess.Popen(
            [sys.executable, self.program, *command.split()],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._running.append(process)
        return process

    def run(self, command: str, **variables: str) -> tuple[int, str, str]:
        process = self.start(command, **variables)
        out, err = process.communicate(timeout=20)
        return process.returncode, out, err

    def get(self, path: str) -> tuple[int, str]:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.socket))
            probe.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            with probe.makefile("rb") as stream:
                head, _, body = stream.read().decode().partition("\r\n\r\n")
        return int(head.split()[1]), body

    def end(self) -> None:
        for process in self._running:
            process.kill()
            process.communicate()


@pytest.fixture
def tiny(sockets: Path) -> Iterator[Tiny]:
    service = Tiny(sockets)
    yield service
    service.end()


def test_a_service_is_ready_drains_on_sigterm_and_exits_with_0(tiny: Tiny) -> None:
    process = tiny.start("serve")
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [line["event"] for line in lines] == ["starting", "serving"]
    assert lines[1] == {
        "event": "serving",
        "service": "tiny",
        "level": "info",
        "octets": "\\xff",
        "port": 1,
        "settled": True,  # garbage collection goes through what the service does, not through what it is
        "ts": lines[1]["ts"],
    }
    assert tiny.get("/livez") == (200, "live\n")
    assert tiny.get("/readyz") == (200, "ready\n")
    status, metrics = tiny.get("/metrics")
    assert status == 200
    assert "process_cpu_seconds_total" in metrics
    assert tiny.get("/else")[0] == 404
    process.send_signal(signal.SIGTERM)
    while (readiness := tiny.get("/readyz")) == (200, "ready\n"):
        pass  # the signal is on its way
    assert readiness == (503, "draining\n")
    assert tiny.get("/livez") == (200, "live\n")
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert json.loads(out)["event"] == "stopped"
    assert err == ""


def test_a_second_start_takes_the_socket_of_a_killed_one(tiny: Tiny) -> None:
    first = tiny.start("serve")
    assert first.stdout is not None
    first.stdout.readline()
    first.kill()
    first.wait()
    second = tiny.start("serve")
    assert second.stdout is not None
    second.stdout.readline()
    assert tiny.get("/livez")[0] == 200


def test_a_bug_exits_with_1_and_says_so_in_the_log(tiny: Tiny) -> None:
    status, out, _ = tiny.run("serve", trouble="bug")
    assert status == 1
    assert "ZeroDivisionError" in json.loads(out.splitlines()[-1])["exception"]


def test_a_wrong_configuration_exits_with_2_and_one_line(tiny: Tiny) -> None:
    assert tiny.run("serve", port="x")[0] == 2
    status, _, err = tiny.run("serve", health_address="nonsense")
    assert status == 2
    assert err == "tiny: not host:port: nonsense\n"


@pytest.mark.parametrize("command", ["", "dance", "serve twice", "migrate"])
def test_a_wrong_command_line_exits_with_2(tiny: Tiny, command: str) -> None:
    assert tiny.run(command) == (2, "", "tiny: usage: serve|check|count\n")


@pytest.mark.parametrize("trouble", ["dependency", "transient"])
def test_a_dependency_that_is_away_exits_with_3(tiny: Tiny, trouble: str) -> None:
    assert tiny.run("check")[0] == 0
    status, out, _ = tiny.run("check", trouble=trouble)
    assert status == 3
    assert json.loads(out)["error"] == "nobody there"


def test_another_verb_has_settings_of_its_own(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    status, _, err = tiny.run("count")
    assert (status, "POSTROOM_COUNTING_SHEEP" in err) == (2, True)
    monkeypatch.setenv("POSTROOM_COUNTING_SHEEP", "1")
    status, out, _ = tiny.run("count", port="none of its business")
    assert (status, json.loads(out)["sheep"]) == (0, 1)


def test_what_is_not_as_wanted_is_told_in_a_line_and_exits_with_1(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTROOM_COUNTING_SHEEP", "2")
    status, out, err = tiny.run("count")
    assert (status, err) == (1, "")
    last = json.loads(out.splitlines()[-1])
    assert (last["event"], last["error"]) == ("not_as_wanted", "more than one")
    assert "exception" not in last


def test_what_a_service_does_not_use_is_not_imported(tiny: Tiny) -> None:
    heavy = ("grpc", "nats", "aiohttp", "starlette", "uvicorn", "rich", "sqlalchemy", "opentelemetry")
    program = (
        "import postroom_runtime.service, postroom_runtime.tcp, sys\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert said.stdout == "[]\n"
    program = "import sys, postroom_runtime.bus; print('aiohttp' in sys.modules); import aiohttp, rich"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert said.stdout == "False\n"
