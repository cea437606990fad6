"""The chart's pods without a cluster: each a process or a container with a network of its own.

A pod gets what its manifest gives it and nothing else: image, arguments, environment, files, host name and
an address; the names of headless Services lead to the pods that are ready. It wants root, and a process in
network and mount name spaces of its own (`make image-test` sees to both), so that nothing is left behind.
"""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import httpx

from postroom_testing.chart import Manifest, Rendering, realise
from postroom_testing.dns import DnsServer
from postroom_testing.image import Image
from postroom_testing.runtimes import USER, Runtime, Wanted

HOST: Final = "10.77.0.1"
"""Where the pods reach whoever made the network."""
ZONE: Final = "mail.svc.cluster.local"
_DEVICES: Final = Path("/proc/self/net/dev")
_READY_SECONDS: Final = 120.0
_CORE: Final = frozenset({"directory", "mailstore", "filestore"})
_PARTS: Final = frozenset({"postgres", "nats", "object-store"})
_RESTART_SECONDS: Final = 2.0
_BACKOFF_LIMIT: Final = 30
_POLL_SECONDS: Final = 0.1


@dataclass
class Pod:
    """One running pod."""

    name: str
    address: str
    template: Manifest
    process: subprocess.Popen[bytes]
    runtime: Runtime
    volumes: Mapping[str, Path]
    log: Path

    @property
    def component(self) -> str:
        """What it is one of."""
        return str(self.template["metadata"]["labels"]["app.kubernetes.io/component"])

    @property
    def container(self) -> Manifest:
        """Its only one."""
        return self.template["spec"]["containers"][0]

    def is_ready(self) -> bool:
        """Whether its readiness probe succeeds; raises when it has ended."""
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.last_lines()}")
        return self.probe("readinessProbe")

    def probe(self, kind: str) -> bool:
        """What the kubelet would find by this probe of its manifest."""
        probe = self.container[kind]
        if "exec" in probe:
            return self._execute(probe["exec"]["command"]) == 0
        if "tcpSocket" in probe:
            return self._accepts(self._port(probe["tcpSocket"]["port"]))
        request = probe["httpGet"]
        url = f"http://{self.address}:{self._port(request['port'])}{request['path']}"
        try:
            return httpx.get(url, trust_env=False, timeout=3.0).is_success
        except httpx.HTTPError:
            return False

    def end(self) -> int:
        """End it as the kubelet does: the preStop hook, SIGTERM, and SIGKILL after the grace period.

        Gives its exit status, which is negative when it had to be killed.
        """
        end = time.monotonic() + float(self.template["spec"].get("terminationGracePeriodSeconds", 30))
        hook = self.container.get("lifecycle", {}).get("preStop", {})
        if "exec" in hook:
            self._execute(hook["exec"]["command"])
        elif "sleep" in hook:
            time.sleep(hook["sleep"]["seconds"])
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(end - time.monotonic())
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def _execute(self, command: list[str]) -> int:
        """The exit status of a command in the pod's own mounts, so with its own /tmp, and as its user."""
        inside = self.runtime.execute(self.name, self.process.pid, command)
        return subprocess.run(inside, check=False, timeout=10).returncode

    def last_lines(self, count: int = 15) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def _port(self, name: str) -> int:
        return next(int(port["containerPort"]) for port in self.container["ports"] if port["name"] == name)

    def _accepts(self, port: int) -> bool:
        try:
            with socket.create_connection((self.address, port), timeout=3.0):
                return True
        except OSError:
            return False


@dataclass
class Pods:
    """A release's pods; `secrets` are those that the chart does not make."""

    rendering: Rendering
    images: Mapping[str, Image]
    secrets: Mapping[str, Mapping[str, bytes]]
    names: DnsServer
    folder: Path
    runtime: Runtime
    running: list[Pod] = field(default_factory=list[Pod])
    _publishing: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _published: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    _started: list[Pod] = field(default_factory=list[Pod])

    def start_workloads(self) -> None:
        """Start everything at once, as an installation does; return when Jobs are done and all is ready."""
        jobs = self.start_jobs()
        for manifest in self.rendering.of_kind("StatefulSet", "Deployment"):
            name, spec = manifest["metadata"]["name"], manifest["spec"]
            for number in range(spec["replicas"]):
                self.running.append(self.start(f"{name}-{number}", spec["template"]))
        with ThreadPoolExecutor(1) as thread:
            done = thread.submit(self.wait_jobs, jobs)  # which fail until Postgres is there
            self.wait_ready(*self.running)
            done.result()

    def start_jobs(self, revision: int = 1) -> list[Pod]:
        """The first pod of each Job of a revision."""
        return [
            self.start(f"{job['metadata']['name']}-{revision}", job["spec"]["template"])
            for job in self.rendering.of_kind("Job")
        ]

    def start(self, name: str, template: Manifest, claimed: Mapping[str, Path] | None = None) -> Pod:
        """Start one pod from its template, from any thread; `claimed` are volumes that another has left."""
        number = next(self._numbers)
        address = f"10.77.1.{number}"
        _add_network(name, number, address)
        place = self.folder / name
        place.mkdir()
        container = template["spec"]["containers"][0]
        image = self.images[container["image"].split("/")[-1].split(":")[0]]
        environment, volumes = self._contents(place, template, address)
        volumes |= claimed or {}
        entry_point = (*container.get("command", image.config.entrypoint), *container.get("args", ()))
        memory = container["resources"]["limits"]["memory"]
        wanted = Wanted(name, image, entry_point, environment, volumes, memory)
        log = place / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.runtime.run(wanted),
                env=image.environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        pod = Pod(name, address, template, process, self.runtime, volumes, log)
        self._started.append(pod)
        return pod

    def _contents(
        self, place: Path, template: Manifest, address: str
    ) -> tuple[dict[str, str], dict[str, Path]]:
        """The environment of a pod, and what is mounted where, made below `place`."""
        files = place / "files"
        files.mkdir()
        fields = {"status.hostIPs": HOST, "status.podIPs": address}
        realised = realise(self.rendering, template, self.secrets, files, fields)
        environment = {variable: value.removeprefix(str(files)) for variable, value in realised.items()}
        volumes: dict[str, Path] = {}
        for mount in template["spec"]["containers"][0]["volumeMounts"]:
            here = files / mount["mountPath"].lstrip("/")
            if here.exists():
                _close(here)
                volumes[mount["mountPath"]] = here
            elif mount["mountPath"] != "/tmp":  # noqa: S108  # which is empty and writable in any case
                here.mkdir(parents=True)
                os.chown(here, USER, USER)
                volumes[mount["mountPath"]] = here
        resolver = place / "resolv.conf"
        resolver.write_text(
            f"search {ZONE} svc.cluster.local cluster.local\nnameserver {HOST}\noptions ndots:5\n"
        )
        return environment, volumes | {"/etc/resolv.conf": resolver}

    def wait_done(self, pod: Pod) -> None:
        """Wait until a pod has done its work; raises when it failed."""
        if (status := pod.process.wait(_READY_SECONDS)) != 0:
            raise AssertionError(f"{pod.name} ended with {status}:\n{pod.last_lines()}")

    def wait_jobs(self, jobs: Iterable[Pod]) -> None:
        """Wait until Jobs are done, with another pod for each that failed."""
        for job in jobs:
            tried, attempts = job, 0
            while tried.process.wait(_READY_SECONDS) != 0:
                attempts += 1
                if attempts > _BACKOFF_LIMIT:
                    raise AssertionError(f"{job.name} fails:\n{tried.last_lines()}")
                time.sleep(_RESTART_SECONDS)
                tried = self.start(f"{job.name}-{attempts}", job.template)

    def wait_ready(self, *pods: Pod) -> None:
        """Wait until the pods are ready; from then on names and `endpoints` lead to them."""
        end = time.monotonic() + _READY_SECONDS
        waiting = list(pods)
        while waiting:
            for pod in [pod for pod in waiting if pod.is_ready()]:
                waiting.remove(pod)
                self._publish(pod, there=True)
            if waiting and time.monotonic() > end:
                raise AssertionError("\n".join(f"{pod.name}:\n{pod.last_lines()}" for pod in waiting))
            time.sleep(_POLL_SECONDS)

    def end(self, pod: Pod, notice_seconds: float = 0.0) -> int:
        """End one as the kubelet does; names and balancers notice only so much later. Gives its status."""
        noticing = threading.Timer(notice_seconds, self._publish, [pod], {"there": False})
        noticing.start()
        try:
            return pod.end()
        finally:
            noticing.join()
            self.running.remove(pod)

    def move(self, *pods: Pod) -> None:
        """End pods of StatefulSets and start them anew, with their volumes and at other addresses."""
        self.end_all(pods)
        moved = [
            self.start(f"{pod.name}-moved", pod.template, {"/data": pod.volumes["/data"]}) for pod in pods
        ]
        self.running += moved
        self.wait_ready(*moved)

    def end_all(self, pods: Sequence[Pod]) -> None:
        """End them at the same time; raises unless each ended with status 0."""
        with ThreadPoolExecutor(max(1, len(pods))) as threads:
            statuses = list(threads.map(self.end, pods))
        if any(statuses):
            told = (
                f"{pod.name} {status}:\n{pod.last_lines()}"
                for pod, status in zip(pods, statuses, strict=True)
                if status
            )
            raise AssertionError("not in peace: " + "\n".join(told))

    def kill(self) -> None:
        """Leave nothing behind."""
        for pod in self._started:
            pod.process.kill()
            pod.process.wait()

    def endpoints(self, component: str) -> list[str]:
        """The addresses that a balancer or kube-proxy would lead to now."""
        return list(self._published.get(component, ()))

    def address(self, component: str) -> str:
        """Of one ready pod of a service."""
        return self.endpoints(component)[0]

    def _publish(self, pod: Pod, *, there: bool) -> None:
        with self._publishing:
            before = self._published.get(pod.component, [])
            after = [*before, pod.address] if there else [each for each in before if each != pod.address]
            self._published[pod.component] = after
            for service in self._services(pod.template):
                self.names.replace(f"{service}.{ZONE}", "A", *after)

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
    runtime: Runtime,
) -> Generator[Pods]:
    """The release for a while; at the end every pod is told to end, and has to do so with status 0."""
    pods = Pods(rendering, images, secrets, names, folder, runtime)
    try:
        pods.start_workloads()
        yield pods
        # Who stands on the others goes first.
        for tier in (frozenset(pod.component for pod in pods.running) - _CORE - _PARTS, _CORE, _PARTS):
            pods.end_all([pod for pod in pods.running if pod.component in tier])
    finally:
        pods.kill()


def _add_network(name: str, number: int, address: str) -> None:
    _do(f"ip netns add {name}")
    _do(f"ip link add pod{number} type veth peer name eth0 netns {name}")
    _do(f"ip link set pod{number} master pods up")
    _do(f"ip -n {name} address add {address}/16 dev eth0")
    _do(f"ip -n {name} link set eth0 up")
    _do(f"ip -n {name} link set lo up")
    _do(f"ip -n {name} route add default via {HOST}")


def _close(place: Path) -> None:
    """As the kubelet writes a volume whose mode is 0440, for the pod's group."""
    for file in (place, *place.rglob("*")):
        os.chown(file, 0, USER)
        file.chmod(0o750 if file.is_dir() else 0o440)


def _do(command: str) -> None:
    subprocess.run(command.split(), check=True, timeout=10)
