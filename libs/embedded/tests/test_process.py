"""A process is stopped with all that it started, and its log stays small."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from postroom_embedded import process as process_module
from postroom_embedded import reclaim
from postroom_embedded.errors import StartError
from postroom_embedded.instance import MARKER, Instance
from postroom_embedded.process import Command, Process, describe_exit, run, trim_log
from postroom_testing.waiting import is_alive, until

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["/bin/sleep", "100"])
print(child.pid, flush=True)
time.sleep(100)
"""


async def first_line(process: Process) -> str:
    await until(lambda: bool(process.last_lines()))
    return process.last_lines()[0]


async def test_who_does_not_stop_is_killed_with_its_children(instance: Instance) -> None:
    process = await Process.start(instance, Command("stubborn", (sys.executable, "-c", STUBBORN)))
    grandchild = int(await first_line(process))
    await process.stop(0.05)
    assert process.exit_status == -signal.SIGKILL
    await until(lambda: not is_alive(grandchild))


async def test_a_crash_takes_what_it_left_along(instance: Instance) -> None:
    process = await Process.start(instance, Command("stubborn", (sys.executable, "-c", STUBBORN)))
    grandchild = int(await first_line(process))
    os.kill(process.pid, signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    await until(lambda: not is_alive(grandchild))


async def test_a_frozen_process_is_stopped_too(instance: Instance) -> None:
    process = await Process.start(instance, Command("sleep", ("/bin/sleep", "100")))
    os.kill(process.pid, signal.SIGSTOP)
    await process.stop(5)
    assert process.exit_status == -signal.SIGTERM


async def test_a_failure_tells_the_last_lines_of_this_run_only(instance: Instance) -> None:
    with pytest.raises(StartError):
        await run(instance, Command("tool", ("/bin/sh", "-c", "echo first run; exit 1")), 10)
    with pytest.raises(StartError, match=r"tool ended with status 3: second; see .*tool\.log") as caught:
        await run(instance, Command("tool", ("/bin/sh", "-c", "echo begin; echo second; exit 3")), 10)
    assert caught.value.last_lines == ["begin", "second"]


async def test_a_run_that_takes_too_long_is_ended(instance: Instance) -> None:
    with pytest.raises(StartError, match="did not end within 0 s"):
        await run(instance, Command("slow", ("/bin/sleep", "100")), 0.1)
    assert list(reclaim.processes_of(instance.claim)) == []


def test_a_log_is_kept_within_its_bound(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "MAX_LOG", 1000)
    log = instance.log_file("chatty")
    with log.open("ab") as writer:
        for number in range(300):
            writer.write(f"{number:09}\n".encode())
            writer.flush()
            if number % 50 == 0:
                trim_log(log)
        trim_log(log)
        writer.write(b"the end\n")
    before = log.with_name("chatty.log.1")
    assert before.stat().st_size <= 1000
    kept = (before.read_text() + log.read_text()).splitlines()
    assert kept[-1] == "the end"
    assert [int(line) for line in kept[:-1]] == list(range(301 - len(kept), 300))
    assert len(kept) > 100


@pytest.mark.parametrize(
    ("status", "words"),
    [(3, "ended with status 3"), (-9, "was ended by SIGKILL"), (-77, "was ended by signal 77")],
)
def test_an_exit_is_told_in_words(status: int, words: str) -> None:
    assert describe_exit(status) == words


def test_only_what_carries_the_marker_is_reclaimed(instance: Instance) -> None:
    environment = {MARKER: instance.secrets.marker}
    ours = subprocess.Popen(["/bin/sleep", "100"], env=environment)
    almost = subprocess.Popen(["/bin/sleep", "100"], env={MARKER: instance.secrets.marker + "0"})
    named = subprocess.Popen(["/bin/sleep", "100"], env={"NOTE": instance.secrets.marker})
    try:
        for process in (ours, almost, named):
            while b"sleep" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
                pass
        assert list(reclaim.processes_of(instance.claim)) == [ours.pid]
        os.kill(ours.pid, signal.SIGSTOP)
        assert reclaim.reclaim(instance.claim) == [ours.pid]
        assert ours.wait(5) == -signal.SIGKILL
        assert almost.poll() is None
        assert named.poll() is None
    finally:
        for process in (ours, almost, named):
            process.kill()
            process.wait()


async def test_a_guard_leaves_a_later_run_of_the_same_directory_alone(instance: Instance) -> None:
    process = await Process.start(instance, Command("later", ("/bin/sleep", "100")))
    try:
        earlier = reclaim.Claim(f"{instance.secrets.marker}.{'0' * 16}", "")
        assert reclaim.reclaim(earlier, 0) == []
        assert list(reclaim.processes_of(reclaim.Claim(instance.run_marker, ""))) == [process.pid]
        assert list(reclaim.processes_of(instance.claim)) == [process.pid]
    finally:
        await process.stop()
