"""The Helm chart as tests see it: rendered by a real helm, and its pods' environment and files made real."""

import base64
import json
import subprocess
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import yaml

Manifest: TypeAlias = dict[str, Any]

CHART: Final = Path(__file__).resolve().parents[4] / "deploy/helm/postroom"
EXTENSIONS: Final = (
    "cert-manager.io/v1",
    "gateway.networking.k8s.io/v1/BackendTLSPolicy",
    "gateway.networking.k8s.io/v1/TCPRoute",
    "gateway.networking.k8s.io/v1/TLSRoute",
    "postgresql.cnpg.io/v1",
)
"""APIs that a cluster may have besides its own."""

_SECONDS: Final = 60.0
_FIELDS: Final = {"status.hostIPs": "192.0.2.250,2001:db8::250", "status.podIPs": "192.0.2.7"}
"""What Kubernetes says of a pod to itself."""
_WORKLOADS: Final = ("Deployment", "StatefulSet", "Job")


class HelmError(Exception):
    """Helm refused; the text is what it wrote."""


class _Loader(yaml.CSafeLoader):
    """Refuses a key that stands twice, which server-side apply would too."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        if len(keys) != len(set(keys)):
            raise yaml.YAMLError(f"a key stands twice: {sorted(keys)}")
        return super().construct_mapping(node, deep)


@dataclass(frozen=True, slots=True)
class Rendering:
    """All manifests of a release."""

    manifests: tuple[Manifest, ...]

    def of_kind(self, *kinds: str) -> list[Manifest]:
        """Those of these kinds."""
        return [manifest for manifest in self.manifests if manifest["kind"] in kinds]

    def names(self, kind: str) -> set[str]:
        """The names of one kind."""
        return {manifest["metadata"]["name"] for manifest in self.of_kind(kind)}

    def get(self, kind: str, name: str) -> Manifest:
        """The one of this kind and name."""
        (found,) = (each for each in self.of_kind(kind) if each["metadata"]["name"] == name)
        return found

    def pods(self) -> Iterator[tuple[str, Manifest]]:
        """Every pod that comes of it (`{metadata, spec}`), with `Kind/name` of what makes it."""
        for manifest in self.of_kind(*_WORKLOADS):
            yield f"{manifest['kind']}/{manifest['metadata']['name']}", manifest["spec"]["template"]
        for manifest in self.of_kind("CronJob"):
            template = manifest["spec"]["jobTemplate"]["spec"]["template"]
            yield f"CronJob/{manifest['metadata']['name']}", template
        for manifest in self.of_kind("Pod"):
            yield f"Pod/{manifest['metadata']['name']}", manifest

    def secret(self, name: str) -> dict[str, bytes]:
        """What is in a Secret that the chart makes."""
        data = cast("dict[str, str]", self.get("Secret", name)["data"])
        return {key: base64.b64decode(value) for key, value in data.items()}


@dataclass(frozen=True, slots=True)
class Helm:
    """One helm program."""

    program: Path

    def template(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        files: Sequence[Path] = (),
        kubernetes: str = "1.36.0",
        extensions: Sequence[str] = EXTENSIONS,
        release: str = "postroom",
        options: Sequence[str] = (),
    ) -> Rendering:
        """Render the chart with `files` and then `values`. Raises `HelmError`."""
        given = [f"--values={file}" for file in files]
        apis = [f"--api-versions={each}" for each in extensions]
        text = self.run(
            "template", release, str(CHART), "--namespace=mail", f"--kube-version={kubernetes}", *given,
            "--values=-", *apis, *options, stdin=json.dumps(values or {}),
        )  # fmt: skip
        return Rendering(tuple(parse_manifests(text)))

    def run(self, *arguments: str, stdin: str = "") -> str:
        """What helm prints. Raises `HelmError`."""
        done = subprocess.run(
            [self.program, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise HelmError(done.stderr)
        return done.stdout


def parse_manifests(text: str) -> Iterator[Manifest]:
    """The manifests of a YAML stream; a key that stands twice is an error."""
    for document in yaml.load_all(text, Loader=_Loader):
        if document is not None:
            yield cast(Manifest, document)


def realise(
    rendering: Rendering,
    pod: Manifest,
    given: Mapping[str, Mapping[str, bytes]],
    root: Path,
    fields: Mapping[str, str] = _FIELDS,
) -> dict[str, str]:
    """Write the files of a pod's first container below `root`; gives its environment with their paths.

    `given` are Secrets besides those that the chart makes, `fields` what Kubernetes says of the pod.
    """
    container = pod["spec"]["containers"][0]
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
    for mount in container.get("volumeMounts", ()):
        # A volume that is claimed has no files yet.
        for path, octets in _files(rendering, given, volumes.get(mount["name"], {})):
            if mount.get("subPath") in {None, path}:
                file = root / mount["mountPath"].lstrip("/") / ("" if "subPath" in mount else path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(octets)
    environment = {
        variable["name"]: _value(rendering, given, fields, variable) for variable in container.get("env", ())
    }
    return {
        name: f"{root}{value}" if value.startswith("/etc/postroom/") else value
        for name, value in environment.items()
    }


def _files(
    rendering: Rendering, given: Mapping[str, Mapping[str, bytes]], volume: Manifest
) -> Iterator[tuple[str, bytes]]:
    for source in volume.get("projected", {}).get("sources", [volume]):
        if "secret" in source:
            secret = source["secret"]
            data = _secret(rendering, given, secret.get("secretName") or secret["name"])
            items = secret.get("items") or [{"key": key, "path": key} for key in data]
            for item in items:
                yield item["path"], data[item["key"]]
        elif "configMap" in source:
            for key, text in rendering.get("ConfigMap", source["configMap"]["name"])["data"].items():
                yield key, text.encode()


def _value(
    rendering: Rendering,
    given: Mapping[str, Mapping[str, bytes]],
    fields: Mapping[str, str],
    variable: Manifest,
) -> str:
    if "valueFrom" not in variable:
        return cast(str, variable["value"])
    if "fieldRef" in variable["valueFrom"]:
        return fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
    reference = variable["valueFrom"]["secretKeyRef"]
    return _secret(rendering, given, reference["name"])[reference["key"]].decode()


def _secret(rendering: Rendering, given: Mapping[str, Mapping[str, bytes]], name: str) -> Mapping[str, bytes]:
    return given[name] if name in given else rendering.secret(name)
