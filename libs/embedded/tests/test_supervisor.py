"""The supervisor keeps parts running and leaves nothing behind, however it ends."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from postroom_embedded import reclaim
from postroom_embedded.errors import NotReadyError, StartError
from postroom_embedded.instance import Instance, open_instance
from postroom_embedded.part import Happening, Patience, Report
from postroom_embedded.process import Command, Process
from postroom_embedded.supervisor import Entry, supervised
from postroom_testing.waiting import is_alive, until

QUICK = Patience(first_delay=0.01, longest_delay=0.05)
# A grandchild in a session of its own, which the death of its parent does not reach.
WITH_GRANDCHILD = """
import subprocess, sys, time
child = subprocess.Popen(["/bin/sleep", "100"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(100)
"""
SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from postroom_embedded.instance import open_instance
from postroom_embedded.process import Command
from postroom_embedded.supervisor import Entry, supervised

class Part:
    name = "parent"
    async def prepare(self): pass
    def command(self): return Command("parent", (sys.executable, "-c", sys.argv[2]))
    async def wait_ready(self, process):
        while not process.last_lines():
            await asyncio.sleep(0.01)

async def main():
    with open_instance(Path(sys.argv[1])) as instance:
        async with supervised(instance) as supervisor:
            supervisor.add([Entry(Part())])
            await supervisor.wait_ready()
            print("ready", flush=True)
            await asyncio.sleep(100)

asyncio.run(main())
"""


@dataclass
class Shell:
    """A part that is a line of shell, ready as soon as it prints `up` (or at once)."""

    name: str
    script: str
    talks: bool = False
    order: list[str] = field(default_factory=list[str])

    async def prepare(self) -> None:
        self.order.append(f"prepare {self.name}")

    def command(self) -> Command:
        return Command(self.name, ("/bin/sh", "-c", self.script))

    async def wait_ready(self, process: Process) -> None:
        await until(lambda: not self.talks or "up" in process.last_lines() or process.exit_status is not None)
        if process.exit_status is not None:
            raise process.failed("ended")
        self.order.append(f"ready {self.name}")


async def test_parts_start_after_what_they_need_and_stop_before_it(instance: Instance) -> None:
    reports: list[Report] = []
    order: list[str] = []
    parts = {name: Shell(name, "exec sleep 100", order=order) for name in ("base", "middle", "top", "edge")}
    async with supervised(instance, reports.append, QUICK) as supervisor:
        supervisor.add(
            [
                Entry(parts["top"], ("middle",)),
                Entry(parts["middle"], ("base",)),
                Entry(parts["edge"], ("base",), tier=1),
                Entry(parts["base"]),
            ]
        )
        await supervisor.wait_ready()
        assert all(pid is not None for pid in supervisor.processes().values())
    ready = [step for step in order if step.startswith("ready")]
    assert ready.index("ready base") < ready.index("ready middle") < ready.index("ready top")
    stopped = [report.part for report in reports if report.happening is Happening.STOPPED]
    assert stopped == ["edge", "top", "middle", "base"]
    assert list(reclaim.processes_of(instance.claim)) == []


async def test_a_crash_is_reported_with_its_last_lines_and_the_part_comes_back(instance: Instance) -> None:
    reports: list[Report] = []
    part = Shell("part", "echo up; echo last words; exec sleep 100", talks=True)
    async with supervised(instance, reports.append, QUICK) as supervisor:
        supervisor.add([Entry(part)])
        await supervisor.wait_ready()
        first = supervisor.processes()["part"]
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: sum(report.happening is Happening.READY for report in reports) == 2)
        assert supervisor.processes()["part"] not in {None, first}
    crash = next(report for report in reports if report.happening is Happening.CRASHED)
    assert "was ended by SIGKILL" in crash.detail
    assert crash.last_lines == ("up", "last words")


async def test_a_part_that_never_becomes_ready_ends_the_start_with_one_clear_line(instance: Instance) -> None:
    bad = Shell("bad", "echo 'FATAL: the cause'; echo hint; exit 1", talks=True)
    async with supervised(instance, None, QUICK) as supervisor:
        supervisor.add([Entry(bad), Entry(Shell("good", "exec sleep 100"))])
        with pytest.raises(StartError, match="bad ended: FATAL: the cause; see"):
            await supervisor.wait_ready()
    assert list(reclaim.processes_of(instance.claim)) == []


async def test_a_part_whose_dependency_is_away_is_tried_again(instance: Instance) -> None:
    flag = instance.directory / "tmp" / "there"
    part = Shell("part", f"test -e {flag} && echo up && exec sleep 100; exit 3", talks=True)
    reports: list[Report] = []
    async with supervised(instance, reports.append, QUICK) as supervisor:
        supervisor.add([Entry(part)])
        await until(lambda: len(reports) > 1)
        instance.write(flag, "")
        await supervisor.wait_ready()
    assert reports[0].happening is Happening.CRASHED


@dataclass
class Sleepy(Shell):
    """Gives up on a start at once that says nothing at once."""

    async def wait_ready(self, process: Process) -> None:
        try:
            async with asyncio.timeout(0.5):
                await super().wait_ready(process)
        except TimeoutError:
            raise process.late(0.5) from None


async def test_a_part_that_is_late_is_started_once_more(instance: Instance) -> None:
    flag = instance.directory / "tmp" / "tried"
    part = Sleepy("part", f"test -e {flag} && echo up; touch {flag}; exec sleep 100", talks=True)
    reports: list[Report] = []
    async with supervised(instance, reports.append, QUICK) as supervisor:
        supervisor.add([Entry(part)])
        await supervisor.wait_ready()
    assert [report.happening for report in reports[:2]] == [Happening.CRASHED, Happening.READY]


async def test_a_part_that_is_late_twice_ends_the_start(instance: Instance) -> None:
    async with supervised(instance, None, QUICK) as supervisor:
        supervisor.add([Entry(Sleepy("part", "exec sleep 100", talks=True))])
        with pytest.raises(NotReadyError, match="part was not ready within 0 s"):
            await supervisor.wait_ready()


async def test_a_start_that_is_cancelled_leaves_nothing(instance: Instance) -> None:
    async def start() -> None:
        async with supervised(instance, None, QUICK) as supervisor:
            supervisor.add([Entry(Shell("slow", "sleep 100; echo up", talks=True))])
            await supervisor.wait_ready()

    starting = asyncio.create_task(start())
    await until(lambda: bool(list(reclaim.processes_of(instance.claim))))
    starting.cancel()
    await asyncio.wait([starting])
    assert starting.cancelled()
    assert list(reclaim.processes_of(instance.claim)) == []


async def test_a_guard_that_is_killed_is_replaced(instance: Instance) -> None:
    async with supervised(instance):
        (guard,) = _guards()
        os.kill(guard, signal.SIGKILL)
        await until(lambda: len(_guards() - {guard}) == 1)
    assert _guards() == set()


async def test_nothing_outlives_a_supervisor_that_is_killed(place: Path) -> None:
    supervisor, family = await _start_supervisor(place / "data")
    with ExitStack() as stack:
        held = [os.pidfd_open(pid) for pid in family]  # a number may soon be another's
        for descriptor in held:
            stack.callback(os.close, descriptor)
        supervisor.kill()
        supervisor.wait()
        await until(lambda: len(select.select(held, [], [], 0)[0]) == len(held), 30.0)


async def test_a_start_reclaims_what_an_earlier_one_left(place: Path) -> None:
    supervisor, family = await _start_supervisor(place / "data")
    # The guard goes first, and the supervisor has no chance to notice.
    supervisor.send_signal(signal.SIGSTOP)
    for guard in _guards(supervisor.pid):
        os.kill(guard, signal.SIGKILL)
    supervisor.kill()
    supervisor.wait()
    grandchild = int((place / "data" / "log" / "parent.log").read_text())
    await until(lambda: [pid for pid in family if is_alive(pid)] == [grandchild])
    with open_instance(place / "data") as instance:
        assert instance.reclaimed == [grandchild]
    assert not is_alive(grandchild)


async def _start_supervisor(data: Path) -> tuple["subprocess.Popen[str]", set[int]]:
    """A supervisor in a process of its own, and everything that it started."""
    supervisor = subprocess.Popen(  # noqa: ASYNC220 - it outlives loops, and nothing of asyncio shall reap it
        [sys.executable, "-c", SUPERVISOR, str(data), WITH_GRANDCHILD], stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    with supervisor.stdout:
        assert await asyncio.to_thread(supervisor.stdout.readline) == "ready\n"
    family = _descendants(supervisor.pid)
    assert len(family) == 3  # the guard, the parent, its child
    return supervisor, family


def _guards(parent: int | None = None) -> set[int]:
    children = _children(os.getpid() if parent is None else parent)
    return {pid for pid in children if b"reclaim.py" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def _children(pid: int) -> set[int]:
    found: set[int] = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(word) for word in (thread / "children").read_text().split()}
    return {child for child in found if is_alive(child)}


def _descendants(pid: int) -> set[int]:
    children = _children(pid)
    return children.union(*(_descendants(child) for child in children))
