"""A whole Postroom for tests, started as a user starts it: by its command, on ports and data of its own."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import httpx

_COMMAND = Path(sys.executable).with_name("postroom")
_READY = "postroom is ready"
_START_SECONDS = 120.0
_STOP_SECONDS = 20.0
# Each window of 20 has its own passive FTP ports, all below those that Linux gives to clients (32768).
_BASES = [2_000 + 20 * window for window in range(1, 130)]


@dataclass
class RunningPostroom:
    """A running `postroom up --demo`; `output` is all that it has printed."""

    data: Path
    port_base: int
    process: subprocess.Popen[str]
    output: list[str]

    def port(self, offset: int) -> int:
        """A public port, by its well-known number."""
        return self.port_base + offset

    def password(self, name: str) -> str:
        """The demo account's."""
        return str(json.loads((self.data / "demo.json").read_text())[f"{name}@postroom.test"])

    def api(self, name: str) -> httpx.Client:
        """A client of the REST API who is logged in."""
        base = f"http://127.0.0.1:{self.port(80)}/api/v1/"
        credentials = {"address": f"{name}@postroom.test", "password": self.password(name)}
        answer = httpx.post(f"{base}session", json=credentials, trust_env=False)
        answer.raise_for_status()
        headers = {"Authorization": f"Bearer {answer.json()['token']}"}
        return httpx.Client(base_url=base, headers=headers, trust_env=False, timeout=15.0)

    def stop(self) -> int:
        """Ctrl-C; returns the exit status. Raises when it takes longer than promised."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(_STOP_SECONDS)


def free_base() -> int:
    """A port base whose windows nobody uses."""
    for base in random.sample(_BASES, len(_BASES)):
        if all(
            _is_free(base + offset) for offset in (21, 25, 80, 110, 143, 443, 465, 587, 990, 993, 995, 28_000)
        ):
            return base
    raise RuntimeError("no port base is free")


def start(data: Path, port_base: int, *options: str, **environment: str) -> RunningPostroom:
    """Start Postroom and wait until it says that it is ready."""
    arguments = [str(_COMMAND), "up", "--demo", "--data", str(data), "--port-base", str(port_base), *options]
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    running = RunningPostroom(data, port_base, process, [])
    deadline = time.monotonic() + _START_SECONDS
    for line in process.stdout or ():
        running.output.append(line.rstrip("\n"))
        if line.startswith(_READY):
            return running
        if time.monotonic() > deadline:
            break
    process.kill()
    raise RuntimeError("Postroom did not start:\n" + "\n".join(running.output))


@contextlib.contextmanager
def running_postroom(
    data: Path, port_base: int, *options: str, **environment: str
) -> Generator[RunningPostroom]:
    """Postroom for a while."""
    running = start(data, port_base, *options, **environment)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            try:
                running.stop()
            except subprocess.TimeoutExpired:
                running.process.kill()
                raise
        if running.process.stdout is not None:
            running.process.stdout.close()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
