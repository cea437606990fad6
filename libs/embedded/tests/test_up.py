"""`postroom up` from outside: root gives up being root, and a signal ends everything."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom_embedded import reclaim
from postroom_embedded.users import can_mount, is_root
from postroom_testing.waiting import until

UP = """
import asyncio, json, os, sys
from pathlib import Path
from postroom_embedded.up import Plan, drop_privileges, run_until_signalled

data = drop_privileges(Path(sys.argv[1]))

async def announce(postroom):
    def readable(path):
        try:
            return bool(open(path, "rb").read())
        except OSError:
            return False
    pids = [pid for pid in postroom.supervisor.processes().values()]
    print(json.dumps({
        "uids": os.getresuid(),
        "groups": os.getgroups(),
        "capabilities": int(dict(line.split(":", 1) for line in open("/proc/self/status"))["CapEff"], 16),
        "shadow": readable("/etc/shadow"),
        "diary": readable(sys.argv[2]),
        "children": sorted({os.stat(f"/proc/{pid}").st_uid for pid in pids}),
        "marker": postroom.wiring.instance.secrets.marker,
    }), flush=True)

print("starting", flush=True)
asyncio.run(run_until_signalled(Plan(data, rows=()), announce))
print("ended", flush=True)
"""


@pytest.fixture
def up(place: Path) -> "Iterator[subprocess.Popen[str]]":
    """`postroom up` without services, in a home that is closed to everyone else."""
    home = place / "home"
    home.mkdir(mode=0o755 if is_root() and not can_mount() else 0o700)
    (home / "diary").write_text("private")
    (home / "diary").chmod(0o600)
    command = [sys.executable, "-c", UP, str(home / "data"), str(home / "diary")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "starting\n", process.communicate()[1]
    yield process
    process.kill()
    process.communicate()


@pytest.mark.timeout(120)
async def test_it_runs_as_the_owner_of_the_data_and_ends_at_a_signal(
    up: "subprocess.Popen[str]", place: Path
) -> None:
    assert up.stdout is not None
    line = await asyncio.to_thread(up.stdout.readline)
    assert line, up.communicate()[1]
    about = json.loads(line)
    uid = os.getuid() or (place / "home" / "data").stat().st_uid
    assert about["uids"] == [uid] * 3
    assert about["children"] == [uid]
    assert uid != 0
    if is_root():
        assert (about["groups"], about["capabilities"]) == ([], 0)
        assert (about["shadow"], about["diary"]) == (False, False)
    begin = time.monotonic()
    up.send_signal(signal.SIGTERM)
    said, complaints = await asyncio.to_thread(up.communicate)
    assert (up.returncode, said, complaints) == (0, "ended\n", "")
    assert time.monotonic() - begin < 20
    claim = reclaim.Claim(about["marker"], str(place / "home" / "data" / "postgres"))
    assert list(reclaim.processes_of(claim)) == []


@pytest.mark.timeout(120)
async def test_a_signal_while_it_starts_ends_it_too(up: "subprocess.Popen[str]", place: Path) -> None:
    log = place / "home" / "data" / "log"
    await until(lambda: any(log.glob("initdb.log")), 30)
    up.send_signal(signal.SIGINT)
    said, complaints = await asyncio.to_thread(up.communicate)
    assert (up.returncode, said, complaints) == (0, "ended\n", "")
    marker: str = json.loads((log.parent / "secrets.json").read_text())["marker"]
    claim = reclaim.Claim(marker, str(log.parent / "postgres"))
    assert list(reclaim.processes_of(claim)) == []
