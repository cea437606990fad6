"""What every test of Postroom stands on: Hypothesis' profiles, and the clients that Debian has."""

# what gRPC reads when it is imported has to be there before
import os

# Tests start processes beside gRPC's threads, and its handlers of fork now and then crash such a child.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

import asyncio
import shutil
import signal
from collections.abc import Callable, Generator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import FrameType

import pytest
import uvloop
from hypothesis import HealthCheck, settings

settings.register_profile("default", max_examples=50, deadline=None)
# The same examples in every run that decides: a find there must be one that anyone can repeat.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.register_profile(
    "thorough",
    max_examples=2_000,
    deadline=timedelta(seconds=5),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Services run on uvloop, and so do their tests."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer() -> Generator[None, object, object]:
    """Let a test end that waits for ever: uvloop drops what a signal's handler raises."""
    answer = yield
    give_up = signal.getsignal(signal.SIGALRM)

    def on_alarm(number: int, frame: FrameType | None) -> None:
        try:
            tasks = asyncio.all_tasks()
        except RuntimeError:  # no loop runs
            tasks = set[asyncio.Task[object]]()
        for task in tasks:
            with suppress(Exception):  # of a task that has no source, as those of gRPC
                task.print_stack()
            task.cancel("the test took too long")
        if callable(give_up):
            give_up(number, frame)

    if callable(give_up):
        signal.signal(signal.SIGALRM, on_alarm)
    return answer


def _find_debian_tool(name: str) -> Path:
    """The program from `make test-tools`, else the machine's own; skips the test where there is neither."""
    if folder := os.environ.get("POSTROOM_DEBIAN_TOOLS"):
        fetched = Path(folder) / name
        if fetched.exists():
            return fetched
    if found := shutil.which(name):
        return Path(found)
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not here: is it in tools/debian-packages.txt?")
    pytest.skip(f"{name} is not here; `make test` fetches it")


@pytest.fixture(scope="session")
def debian_tool() -> Callable[[str], Path]:
    """Finds a real client by its name: `debian_tool("mbsync")`."""
    return _find_debian_tool
