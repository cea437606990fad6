"""The chart's pods without a cluster: processes in the images' roots, each with a network of its own.

A pod gets what its manifest gives it and nothing else: image, arguments, environment, files, host name and
an address; the names of headless Services are answered by a name server. It wants root, and a process in
network and mount name spaces of its own (`make image-test` sees to both), so that nothing is left behind.
"""

import os
import signal
import subprocess
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from postroom_testing.chart import Manifest, Rendering, realise
from postroom_testing.dns import DnsServer
from postroom_testing.image import Image

HOST: Final = "10.77.0.1"
"""Where the pods reach whoever made the network."""
ZONE: Final = "mail.svc.cluster.local"
_DEVICES: Final = Path("/proc/self/net/dev")
_GROUP: Final = 10001
_READY_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.1
_HEALTH_PORT: Final = 9090


@dataclass
class Pod:
    """One running pod."""

    name: str
    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def is_ready(self) -> bool:
        """What its readiness probe says; raises when it has ended."""
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.last_lines()}")
        try:
            url = f"http://{self.address}:{_HEALTH_PORT}/readyz"
            return httpx.get(url, trust_env=False, timeout=3.0).is_success
        except httpx.HTTPError:
            return False

    def stop(self) -> int:
        """What Kubernetes does to end it; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_STOP_SECONDS)

    def last_lines(self, count: int = 15) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])


@dataclass
class Pods:
    """A release's pods; `secrets` are those that the chart does not make."""

    rendering: Rendering
    images: Mapping[str, Image]
    secrets: Mapping[str, Mapping[str, bytes]]
    names: DnsServer
    folder: Path
    running: list[Pod] = field(default_factory=list[Pod])
    _made: int = 0

    def start_workloads(self) -> None:
        """Start everything at once, as an installation does; return when Jobs are done and all is ready."""
        jobs: list[Pod] = []
        for manifest in self.rendering.of_kind("Job", "Deployment"):
            name, spec = manifest["metadata"]["name"], manifest["spec"]
            if manifest["kind"] == "Job":
                jobs.append(self.start(name, spec["template"]))
            else:
                for number in range(spec["replicas"]):
                    self.running.append(self.start(f"{name}-{number}", spec["template"]))
        for job in jobs:
            self.wait_done(job)
        self.wait_ready()

    def start(self, name: str, template: Manifest) -> Pod:
        """Start one pod from its template."""
        self._made += 1
        address = f"10.77.1.{self._made}"
        _add_network(name, self._made, address)
        container = template["spec"]["containers"][0]
        image = self.images[container["image"].split("/")[-1].split(":")[0]]
        place = self.folder / name
        files = place / "files"
        files.mkdir(parents=True)
        environment = {
            variable: value.removeprefix(str(files))
            for variable, value in realise(self.rendering, template, self.secrets, files).items()
        }
        mounts = {
            mount["mountPath"]: files / mount["mountPath"].lstrip("/") for mount in container["volumeMounts"]
        }
        volumes = {path: here for path, here in mounts.items() if here.is_dir()}
        _close(volumes.values())
        resolver = place / "resolv.conf"
        resolver.write_text(
            f"search {ZONE} svc.cluster.local cluster.local\nnameserver {HOST}\noptions ndots:5\n"
        )
        volumes["/etc/resolv.conf"] = resolver
        entry_point = (*image.config.entrypoint, *container["args"])
        command = image.command(*entry_point, hostname=name, volumes=volumes)
        log = place / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", name, *command],
                env=image.environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        for service in self._services(template):
            self.names.add(f"{service}.{ZONE}", "A", address)
        return Pod(name, address, process, log)

    def wait_done(self, pod: Pod) -> None:
        """Wait until a pod has done its work; raises when it failed."""
        if (status := pod.process.wait(_READY_SECONDS)) != 0:
            raise AssertionError(f"{pod.name} ended with {status}:\n{pod.last_lines()}")

    def wait_ready(self) -> None:
        """Wait until every running pod is ready."""
        end = time.monotonic() + _READY_SECONDS
        waiting = list(self.running)
        while waiting := [pod for pod in waiting if not pod.is_ready()]:
            if time.monotonic() > end:
                raise AssertionError("\n".join(f"{pod.name}:\n{pod.last_lines()}" for pod in waiting))
            time.sleep(_POLL_SECONDS)

    def address(self, component: str) -> str:
        """Of the first pod of a service."""
        return next(pod.address for pod in self.running if pod.name.startswith(f"postroom-{component}-"))

    def _services(self, template: Manifest) -> Iterator[str]:
        labels = template["metadata"]["labels"].items()
        for service in self.rendering.of_kind("Service"):
            selector = service["spec"].get("selector")
            if service["spec"].get("clusterIP") == "None" and selector and selector.items() <= labels:
                yield service["metadata"]["name"]


@contextmanager
def pod_network() -> Generator[None]:
    """A bridge that the pods' networks are at, for as long as the block lasts."""
    devices = {line.split(":")[0].strip() for line in _DEVICES.read_text().splitlines()[2:]}
    if devices != {"lo"}:
        raise AssertionError("it wants name spaces of its own: make image-test")
    Path("/run/netns").mkdir(exist_ok=True)
    _do("mount -t tmpfs tmpfs /run/netns")
    _do("ip link set lo up")
    _do("ip link add pods type bridge")
    _do(f"ip address add {HOST}/16 dev pods")
    _do("ip link set pods up")
    try:
        yield
    finally:
        _do("ip -all netns delete")
        _do("ip link delete pods")
        _do("umount --recursive /run/netns")


@contextmanager
def running_pods(
    rendering: Rendering,
    images: Mapping[str, Image],
    secrets: Mapping[str, Mapping[str, bytes]],
    names: DnsServer,
    folder: Path,
) -> Generator[Pods]:
    """The release for a while; at the end every pod is told to end, and has to do so with status 0."""
    pods = Pods(rendering, images, secrets, names, folder)
    try:
        pods.start_workloads()
        yield pods
        ends = {pod.name: pod.stop() for pod in reversed(pods.running)}
        if any(ends.values()):
            raise AssertionError(f"not in peace: {ends}")
    finally:
        for pod in pods.running:
            pod.process.kill()
            pod.process.wait()


def _add_network(name: str, number: int, address: str) -> None:
    _do(f"ip netns add {name}")
    _do(f"ip link add pod{number} type veth peer name eth0 netns {name}")
    _do(f"ip link set pod{number} master pods up")
    _do(f"ip -n {name} address add {address}/16 dev eth0")
    _do(f"ip -n {name} link set eth0 up")
    _do(f"ip -n {name} link set lo up")
    _do(f"ip -n {name} route add default via {HOST}")


def _close(folders: Iterable[Path]) -> None:
    """As the kubelet writes a volume whose mode is 0440, for the pod's group."""
    for folder in folders:
        for file in folder.rglob("*"):
            os.chown(file, 0, _GROUP)
            file.chmod(0o750 if file.is_dir() else 0o440)


def _do(command: str) -> None:
    subprocess.run(command.split(), check=True, timeout=10)
