"""Data directories that any user can reach the door of, other users, and small programs to supervise."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postroom_embedded import launch, reclaim
from postroom_embedded.errors import EmbeddedError
from postroom_embedded.instance import Instance, open_instance
from postroom_embedded.users import can_mount, code_paths, is_root

OTHER_UID = 61_099


@pytest.fixture
def place() -> Iterator[Path]:
    """A short, open directory to make data directories in; `tmp_path` is long, and closed when root tests."""
    made = Path(tempfile.mkdtemp(prefix="postroom-test-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    for file in made.rglob("secrets.json"):
        with contextlib.suppress(EmbeddedError), open_instance(file.parent):
            pass  # which takes away what a killed supervisor left outside
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def instance(place: Path) -> Iterator[Instance]:
    """An instance of this test's own."""
    made = Instance.open(place / "data")
    yield made
    reclaim.reclaim(made.claim)
    made.close()


@pytest.fixture
def as_other_user() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs Python code as another user, who can read our code and nothing else of ours."""
    if not is_root():
        pytest.skip("only root can become another user")
    if launch.closed_directories(code_paths(), OTHER_UID, OTHER_UID) and not can_mount():
        pytest.skip("the other user cannot reach the interpreter")

    def run(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        specification = launch.Specification(os.getpid(), uid=OTHER_UID, gid=OTHER_UID, visible=code_paths())
        launcher = [sys.executable, "-I", "-S", launch.__file__, specification.encode()]
        return subprocess.run(
            [*launcher, sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        )

    return run
