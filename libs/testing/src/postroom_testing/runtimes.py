"""Two ways to make a pod of an image: a process in its unpacked root, and a container of containerd.

The first wants nothing but root. The second is what nodes do: the images come from their tarballs, and a
container has the runtime's system call filter, no capability, its memory's bound and processes of its own.
"""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from postroom_testing.image import Image

USER: Final = 10001
_SPACE: Final = "k8s.io"  # where the kubelet looks for images
_START_SECONDS: Final = 20.0
_UNITS: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
# What containerd gives by default, all of which pods drop.
_CAPABILITIES: Final = (
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pod is to be; its network is the name space of its name."""

    name: str
    image: Image
    words: Sequence[str]
    environment: Mapping[str, str]
    volumes: Mapping[str, Path]
    memory: str


class Runtime(Protocol):
    """Gives the commands that do it."""

    def run(self, wanted: Wanted) -> list[str]:
        """One that is the pod: it ends with it, and passes signals on."""
        ...

    def execute(self, name: str, pid: int, command: Sequence[str]) -> list[str]:
        """One that runs a command inside of a pod whose own is `pid`."""
        ...


class Roots:
    """Processes in unpacked roots, which find their environment where the command has it."""

    def run(self, wanted: Wanted) -> list[str]:
        """See `Runtime`."""
        inside = wanted.image.command(*wanted.words, hostname=wanted.name, volumes=wanted.volumes)
        return ["ip", "netns", "exec", wanted.name, *inside]

    def execute(self, name: str, pid: int, command: Sequence[str]) -> list[str]:
        """See `Runtime`."""
        del name
        inside = [f"--target={pid}", "--mount", "--root", "--wdns=/"]
        return ["nsenter", *inside, f"--setgid={USER}", f"--setuid={USER}", *command]


@dataclass(frozen=True, slots=True)
class Containerd:
    """A containerd of the tests' own; `tools` is where its programs are."""

    tools: Path
    folder: Path
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def control(self) -> list[str]:
        """`ctr` for this one."""
        return [str(self.tools / "ctr"), f"--address={self.folder}/socket", f"--namespace={_SPACE}"]

    def run(self, wanted: Wanted) -> list[str]:
        """See `Runtime`."""
        host = self.folder / f"{wanted.name}.uts"
        host.touch()
        subprocess.run(["unshare", f"--uts={host}", "hostname", wanted.name], check=True)
        mounts = ["type=tmpfs,src=tmpfs,dst=/tmp,options=nosuid:nodev:mode=1777"]
        for there, here in wanted.volumes.items():
            writable = "rw" if here.stat().st_uid == USER else "ro"
            mounts.append(f"type=bind,src={here},dst={there},options=rbind:{writable}")
        spaces = (f"network:/run/netns/{wanted.name}", f"uts:{host}")
        image = wanted.image
        reference = f"docker.io/postroom/{image.service}:{image.version}"
        memory = f"--memory-limit={_octets(wanted.memory)}"
        return [
            *self.control, "run", "--rm", "--read-only", "--seccomp", memory,
            *(f"--with-ns={each}" for each in spaces), *(f"--cap-drop=CAP_{each}" for each in _CAPABILITIES),
            *(f"--mount={each}" for each in mounts),
            *(f"--env={name}={value}" for name, value in wanted.environment.items()),
            reference, wanted.name, *wanted.words,
        ]  # fmt: skip

    def execute(self, name: str, pid: int, command: Sequence[str]) -> list[str]:
        """See `Runtime`."""
        del pid
        return [*self.control, "tasks", "exec", f"--exec-id=n{next(self._numbers)}", name, *command]

    def import_images(self, images: Sequence[Image], folder: Path) -> None:
        """Load their tarballs as a node does."""
        for image in images:
            tarball = folder / f"postroom-{image.service}-{image.version}.tar"
            command = [*self.control, "images", "import", str(tarball)]
            subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL)

    def kill_all(self) -> None:
        """Leave no container behind."""
        for task in self._list("tasks"):
            subprocess.run(
                [*self.control, "tasks", "kill", "--signal=SIGKILL", task], check=False, timeout=10
            )
        end = time.monotonic() + _START_SECONDS
        while self._list("tasks", "RUNNING") and time.monotonic() < end:
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it is there."""
        asked = subprocess.run([*self.control, "version"], check=False, timeout=10, capture_output=True)
        return asked.returncode == 0

    def _list(self, kind: str, state: str = "") -> list[str]:
        listed = subprocess.check_output([*self.control, kind, "list"], text=True, timeout=10).splitlines()
        return [line.split()[0] for line in listed[1:] if state in line]


def _octets(quantity: str) -> int:
    """A quantity of Kubernetes as a number."""
    return int(quantity[:-2]) * _UNITS[quantity[-2:]]


@contextmanager
def running_containerd(tools: Path) -> Generator[Containerd]:
    """One that is gone with all it holds at the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="postroom-containerd-"))
    containerd = Containerd(tools, folder)
    configuration = folder / "config.toml"
    places = f'root = "{folder}/root"\nstate = "{folder}/state"\n[grpc]\naddress = "{folder}/socket"\n'
    configuration.write_text(f"version = 2\n{places}")
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            [tools / "containerd", f"--config={configuration}"],
            env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + _START_SECONDS
        while not containerd.answers():
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError((folder / "log").read_text()[-2000:])
            time.sleep(0.2)
        yield containerd
    finally:
        if process.poll() is None:
            containerd.kill_all()
            process.send_signal(signal.SIGTERM)
            process.wait(_START_SECONDS)
        for mounted in folder.glob("*.uts"):
            subprocess.run(["umount", mounted], check=False)
        shutil.rmtree(folder, ignore_errors=True)
