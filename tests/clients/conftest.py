"""A Postroom for real clients, and somebody who uses them; only `make client-test` collects tests here."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from postroom_testing.heard_commands import HeardCommands, heard_commands
from postroom_testing.mail_person import Person
from postroom_testing.running import RunningPostroom, free_base, running_postroom

collect_ignore_glob = [] if os.environ.get("POSTROOM_CLIENTS") else ["test_*.py"]
_SECONDS = 90.0


@pytest.fixture(scope="session")
def postroom() -> Iterator[RunningPostroom]:
    """One for all clients, in a directory that the user whom root becomes can reach."""
    place = Path(tempfile.mkdtemp(prefix="postroom-clients-"))
    place.chmod(0o755)
    try:
        with running_postroom(place / "data", free_base()) as running:
            yield running
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def person(postroom: RunningPostroom) -> Iterator[Person]:
    """Somebody new."""
    person = Person.moves_in(postroom)
    yield person
    person.api.close()


@pytest.fixture
def authority(postroom: RunningPostroom) -> Path:
    """The certificate to trust."""
    return postroom.data / "tls/ca.pem"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The client's home, where its settings and its mail are."""
    made = tmp_path / "home"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def client(home: Path, debian_tool: Callable[[str], Path]) -> Callable[..., str]:
    """Runs a client to its end, which must be a good one (`statuses`); gives all that it printed."""

    def run(name: str, *arguments: str | Path, statuses: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            [debian_tool(name), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm"},
            cwd=home,
            timeout=_SECONDS,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        assert done.returncode in statuses, output
        return output

    return run


@pytest.fixture
def heard(postroom: RunningPostroom) -> Callable[[], AbstractContextManager[HeardCommands]]:
    """What the clients ask within a block."""
    return lambda: heard_commands(postroom)


@pytest.fixture(autouse=True)
def refusals(postroom: RunningPostroom) -> Generator[set[str]]:
    """No client is told NO, BAD or -ERR, but for what a test puts in here: `imap getmetadata no`."""
    expected: set[str] = set()
    with heard_commands(postroom) as heard:
        yield expected
    assert {" ".join(each) for each in heard.refused} - expected == set()
