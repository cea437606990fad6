import os
import subprocess
import sys
from pathlib import Path

import pytest

from postroom_testing.crash import CrashPoint

SERVICE = """
import sys
from postroom_runtime.steps import reached

for turn in range(3):
    reached("turn.begun")
    print(turn, flush=True)
    reached("turn.done")
print(sys.argv[1])
"""


@pytest.fixture
def run(tmp_path: Path) -> "Run":
    (tmp_path / "tiny_service.py").write_text(SERVICE)
    return Run(tmp_path)


class Run:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, crash_at: str | None) -> tuple[int, list[str]]:
        environment = {**os.environ, "PYTHONPATH": str(self._directory)}
        if crash_at is not None:
            environment["POSTROOM_CRASH_AT"] = crash_at
        command = [sys.executable, "-m", "postroom_testing.crash", "tiny_service", "serve"]
        ended = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)
        return ended.returncode, ended.stdout.split()


def test_a_process_ends_at_the_step_and_not_before(run: Run) -> None:
    assert run("turn.done") == (137, ["0"])
    assert run("turn.begun:3") == (137, ["0", "1"])


def test_without_a_crash_point_the_service_runs_as_it_is(run: Run) -> None:
    assert run(None) == (0, ["0", "1", "2", "serve"])
    assert run("another.step") == (0, ["0", "1", "2", "serve"])


@pytest.mark.parametrize("text", ["", ":2", "step:0", "step:x"])
def test_a_wrong_crash_point_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"point|literal"):
        CrashPoint.parse(text)
