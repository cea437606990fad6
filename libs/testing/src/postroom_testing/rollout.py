"""A rolling upgrade of pods, as a Deployment's controller, the kubelet and kube-proxy do it."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from postroom_testing.chart import Manifest
from postroom_testing.pods import Pod, Pods

NOTICE_SECONDS: Final = 3.0
"""How long new connections still come to a pod that is told to end."""
_ENDING_AT_ONCE: Final = 32


@dataclass
class Rollout:
    """Brings another revision of a release's own manifests: every Deployment gets new pods."""

    pods: Pods
    revision: int
    _ended: list[tuple[Pod, Future[int]]] = field(default_factory=list[tuple[Pod, Future[int]]])

    def run(self) -> None:
        """All Deployments at the same time, each pod by pod, beside the Jobs.

        Raises when a pod did not end by itself, and with status 0.
        """
        deployments = self.pods.rendering.of_kind("Deployment")
        with (
            ThreadPoolExecutor(_ENDING_AT_ONCE) as self._ends,
            ThreadPoolExecutor(len(deployments)) as threads,
        ):
            jobs = self.pods.start_jobs(self.revision)
            list(threads.map(self._replace, deployments))
            self.pods.wait_jobs(jobs)
        told = (
            f"{pod.name} {status.result()}:\n{pod.last_lines()}"
            for pod, status in self._ended
            if status.result() != 0
        )
        if text := "\n".join(told):
            raise AssertionError(f"not in peace: {text}")

    def _replace(self, deployment: Manifest) -> None:
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        component = spec["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
        old = [pod for pod in self.pods.running if pod.component == component]
        if spec["strategy"]["type"] == "Recreate":
            for ending in [self._end(pod) for pod in old]:
                ending.result()
            for number in range(len(old)):
                self._begin(f"{name}-{number}", spec["template"])
            return
        surge = spec["strategy"]["rollingUpdate"]
        if (surge["maxSurge"], surge["maxUnavailable"]) != (1, 0):
            raise AssertionError(f"{name}: one more, none less: {surge}")
        for number, pod in enumerate(old):
            self._begin(f"{name}-{number}", spec["template"])
            self._end(pod)

    def _begin(self, name: str, template: Manifest) -> None:
        pod = self.pods.start(f"{name}-{self.revision}", template)
        self.pods.running.append(pod)
        self.pods.wait_ready(pod)

    def _end(self, pod: Pod) -> Future[int]:
        ending = self._ends.submit(self.pods.end, pod, NOTICE_SECONDS)
        self._ended.append((pod, ending))
        return ending
