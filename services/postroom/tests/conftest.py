"""The command line against a real directory, mail store and REST service."""

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
import structlog

from postroom_cli.main import main
from postroom_embedded.postgres import PostgresAddress
from postroom_runtime.lifecycle import Lifecycle
from postroom_testing.core import ADMIN_TOKEN, Core, running_core
from postroom_testing.stack import drop_database, in_thread, new_database, run_in_thread
from webmail_api.serve import serving
from webmail_api.settings import Settings

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours is set, and tables are as wide as they want to be."""
    for name in [name for name in os.environ if name.startswith("POSTROOM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture(autouse=True)
def quiet_services() -> Iterator[None]:
    """The services of this process keep their logs out of what the command prints."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(io.StringIO()))
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def house(postgres_server: PostgresAddress, core_template: PostgresAddress) -> Iterator[tuple[Core, str]]:
    """A core, and the URL of the REST service in front of it."""
    database = run_in_thread(lambda: new_database(postgres_server, core_template.database))

    @asynccontextmanager
    async def running() -> AsyncGenerator[tuple[Core, str]]:
        async with running_core(database) as core:
            settings = Settings(
                directory_address=core.directory,
                mailstore_address=core.mailstore,
                filestore_address=f"unix:{core.sockets / 'filestore'}",
                host="127.0.0.1",
                http_port=0,
                drain_seconds=1.0,
            )
            async with serving(settings, Lifecycle()) as ports:
                yield core, f"http://127.0.0.1:{ports['http']}"

    with in_thread(running) as opened:
        yield opened
    run_in_thread(lambda: drop_database(database))


@pytest.fixture
def url(house: tuple[Core, str]) -> str:
    """Of the REST service."""
    return house[1]


@pytest.fixture
def data(url: str, tmp_path: Path) -> Path:
    """The data directory of an instance, as far as commands look at it."""
    (tmp_path / "api.url").write_text(url + "\n")
    (tmp_path / "admin.token").write_text(ADMIN_TOKEN + "\n")
    return tmp_path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`postroom` in this process."""

    def call(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        monkeypatch.setattr(sys, "argv", ["postroom", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, said.out, said.err)

    return call


@pytest.fixture
def postroom(run: Run, data: Path) -> Run:
    """`postroom` with the data directory of the running instance."""

    def call(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return run(*arguments, "--data", str(data), stdin=stdin)

    return call


@pytest.fixture
def place() -> Iterator[Path]:
    """A short, open directory to make data directories in; `tmp_path` is long, and closed when root tests."""
    made = Path(tempfile.mkdtemp(prefix="postroom-test-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def name() -> Callable[[], str]:
    """A domain that no other test has."""
    return lambda: f"d{os.urandom(5).hex()}.test"
