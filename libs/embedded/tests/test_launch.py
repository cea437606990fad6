"""A child is bound to its parent, and as root another user who sees just what it needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from postroom_embedded import launch
from postroom_embedded.instance import Instance
from postroom_embedded.launch import EXIT_CANNOT_EXECUTE, Specification, closed_directories
from postroom_embedded.process import Command, Process, run
from postroom_embedded.users import can_mount, is_root

ABOUT = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
def readable(path):
    try:
        return bool(os.listdir(path)) if os.path.isdir(path) else bool(open(path, "rb").read())
    except OSError:
        return False
print(json.dumps({
    "uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(),
    "capabilities": status["CapEff"].strip(), "ambient": status["CapAmb"].strip(),
    "no_new_privileges": status["NoNewPrivs"].strip(),
    "session": os.getsid(0) == os.getpid(), "umask": os.umask(0),
    "shadow": readable("/etc/shadow"),
}))
"""

needs_mounts = pytest.mark.skipif(not (is_root() and can_mount()), reason="needs CAP_SYS_ADMIN")


def test_a_specification_survives_its_way_through_an_argument() -> None:
    specification = Specification(1, 9, 2, 3, ("/a", "/b"), "/c", "/d")
    assert Specification.decode(specification.encode()) == specification


@pytest.mark.parametrize(("bound", "expected"), [(True, EXIT_CANNOT_EXECUTE), (False, 0)])
def test_what_starts_after_its_parent_died_goes_unless_it_is_to_stay(bound: bool, expected: int) -> None:
    with subprocess.Popen(["/bin/true"]) as gone:
        gone.wait()
    specification = Specification(parent=gone.pid if bound else None)
    command = [sys.executable, "-I", "-S", launch.__file__, specification.encode(), "/bin/true"]
    assert subprocess.run(command, check=False).returncode == expected


async def test_a_child_has_no_privileges_and_a_session_of_its_own(instance: Instance) -> None:
    await run(instance, Command("about", (sys.executable, "-c", ABOUT)), 20)
    about = json.loads(instance.log_file("about").read_text())
    uid = instance.user.uid if instance.user is not None else os.getuid()
    assert about["uids"] == [uid] * 3
    assert uid != 0
    assert about["session"] is True
    assert about["umask"] == 0o077
    if is_root():
        assert about["groups"] == []
        assert int(about["capabilities"], 16) == int(about["ambient"], 16) == 0
        assert about["no_new_privileges"] == "1"
        assert about["shadow"] is False


@needs_mounts
async def test_code_below_a_closed_home_is_reached_and_the_rest_of_the_home_is_not(
    instance: Instance, place: Path
) -> None:
    home = place / "home"
    (home / "clone" / "src").mkdir(parents=True)
    (home / "clone" / "src" / "greeting.py").write_text("print('hello from below')")
    (home / "diary").write_text("private")
    (home / "link").symlink_to("clone/src")
    home.chmod(0o700)
    instance.visible = (*instance.visible, str(home / "clone" / "src"), str(home / "link"))
    code = f"import os, runpy, sys; sys.path.insert(0, {str(home / 'link')!r}); runpy.run_module('greeting')"
    code += f"; print(sorted(os.listdir({str(home)!r})), os.listdir({str(home / 'clone')!r}))"
    await run(instance, Command("below", (sys.executable, "-c", code)), 20)
    assert instance.log_file("below").read_text().split("\n") == [
        "hello from below",
        "['clone', 'link'] ['src']",
        "",
    ]
    assert sorted(entry.name for entry in home.iterdir()) == ["clone", "diary", "link"]


def test_the_topmost_closed_directory_is_found_through_links(place: Path) -> None:
    (place / "closed" / "inner" / "code").mkdir(parents=True)
    (place / "closed").chmod(0o700)
    (place / "link").symlink_to(place / "closed" / "inner" / "code")
    assert closed_directories([str(place / "link")], 61_050, 61_050) == [str(place / "closed")]
    assert closed_directories([str(place)], 61_050, 61_050) == []


async def test_a_program_that_cannot_be_executed_is_named(instance: Instance) -> None:
    process = await Process.start(instance, Command("absent", ("/nonexistent/program",)))
    assert await process.wait() == 126
    assert "cannot start /nonexistent/program" in process.last_lines()[-1]


async def test_secrets_of_the_environment_are_not_among_the_arguments(instance: Instance) -> None:
    command = Command("quiet", ("/bin/sleep", "30"), {"POSTROOM_S3_SECRET_KEY": "s3cret-in-environment"})
    process = await Process.start(instance, command)
    try:
        assert "s3cret" not in Path(f"/proc/{process.pid}/cmdline").read_text()
        assert "s3cret" not in repr(command)
    finally:
        await process.stop()
