"""What holds for the manifests of every scenario, whatever the values."""

import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs]
import pytest

from postroom_testing.chart import CHART, Helm, Manifest, Rendering
from postroom_testing.image import ask_tree

_OTHERS = (
    "cert-manager.io/",
    "gateway.networking.k8s.io/",
    "keda.sh/",
    "monitoring.coreos.com/",
    "postgresql.cnpg.io/",
)
_EVERYTHING = os.environ.get("POSTROOM_CHART_TESTS") == "all"
_VERSIONS = ("1.30.0", "1.31.0", "1.32.0", "1.33.0", "1.34.0", "1.35.0", "1.36.0", "1.37.0")


# It would read the megabytes of definitions anew for each manifest.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)


def _validate(rendering: Rendering, version: str) -> None:
    for manifest in rendering.manifests:
        if not manifest["apiVersion"].startswith(_OTHERS):
            kubernetes_validate.validate(manifest, version, strict=True)


def test_kubernetes_takes_every_manifest(rendering: Rendering) -> None:
    _validate(rendering, "1.36")


@pytest.mark.skipif(not _EVERYTHING, reason="make chart-test")
@pytest.mark.parametrize("version", _VERSIONS)
def test_each_version_of_kubernetes_takes_every_manifest(helm: Helm, scenario: str, version: str) -> None:
    file = CHART / "ci" / f"{scenario}-values.yaml"
    _validate(helm.template(files=[file], kubernetes=version), version)


def test_helm_finds_nothing_to_complain_about(helm: Helm) -> None:
    helm.run("lint", "--strict", str(CHART))


@pytest.mark.skipif(not _EVERYTHING, reason="make chart-test")
def test_helm_3_renders_the_same_objects_as_helm_4(helm: Helm, helm3: Helm, scenario: str) -> None:
    file = CHART / "ci" / f"{scenario}-values.yaml"
    assert _shape(helm.template(files=[file])) == _shape(helm3.template(files=[file]))


def _shape(rendering: Rendering) -> list[Manifest]:
    """The manifests without what is random."""
    random = {"Secret", "ConfigMap"}
    return sorted(
        (
            {**each, "data": sorted(each["data"])} if each["kind"] in random else each
            for each in rendering.manifests
        ),
        key=lambda each: (each["kind"], each["metadata"]["name"]),
    )


def test_no_object_stands_twice(rendering: Rendering) -> None:
    names = Counter(
        (each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in rendering.manifests
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_every_object_says_whose_it_is(rendering: Rendering) -> None:
    for manifest in rendering.manifests:
        labels = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "postroom"
        assert labels["app.kubernetes.io/part-of"] == "postroom"
        assert len(manifest["metadata"]["name"]) <= 63


def _containers(rendering: Rendering) -> Iterator[tuple[str, Manifest, Manifest]]:
    for name, pod in rendering.pods():
        for container in pod["spec"]["containers"]:
            yield name, pod, container


def test_names_of_variables_and_ports_are_unique(rendering: Rendering) -> None:
    for name, _, container in _containers(rendering):
        variables = [each["name"] for each in container.get("env", ())]
        assert len(variables) == len(set(variables)), name
        ports = container.get("ports", ())
        assert len({each["name"] for each in ports}) == len(ports), name
        assert len({each["containerPort"] for each in ports}) == len(ports), name
    for service in rendering.of_kind("Service"):
        ports = service["spec"]["ports"]
        assert len({each["name"] for each in ports}) == len(ports)
        assert len({each["port"] for each in ports}) == len(ports)


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """(kind, name) of the Secrets and ConfigMaps that a pod's specification names."""
    match value:
        case (
            {"secretKeyRef": {"name": str(name)}}
            | {"secretName": str(name)}
            | {"secret": {"name": str(name)}}
        ):
            yield "Secret", name
        case {"configMap": {"name": str(name)}} | {"configMapKeyRef": {"name": str(name)}}:
            yield "ConfigMap", name
        case dict():
            for each in cast("dict[str, Any]", value).values():
                yield from _references(each)
        case list():
            for each in cast("list[Any]", value):
                yield from _references(each)
        case _:
            return


def _given(scenario: str) -> set[str]:
    """The Secrets and ConfigMaps that a scenario names, made by somebody else."""
    text = (CHART / "ci" / f"{scenario}-values.yaml").read_text()
    return {word.strip(",{}[]") for word in text.split()}


def test_every_secret_and_configuration_is_made_or_given(rendering: Rendering, scenario: str) -> None:
    by_cert_manager = {each["spec"]["secretName"] for each in rendering.of_kind("Certificate")}
    made = rendering.names("Secret") | by_cert_manager
    for name, pod in rendering.pods():
        for kind, wanted in _references(pod["spec"]):
            there = made if kind == "Secret" else rendering.names("ConfigMap")
            assert wanted in there or wanted in _given(scenario), (name, kind, wanted)
        assert pod["spec"]["serviceAccountName"] in rendering.names("ServiceAccount")


def test_keys_of_secrets_that_the_chart_makes_are_there(rendering: Rendering) -> None:
    for name, pod in rendering.pods():
        for volume in pod["spec"]["volumes"]:
            for source in volume.get("projected", {}).get("sources", [volume]):
                secret = source.get("secret", {})
                made = secret.get("secretName") or secret.get("name")
                if made in rendering.names("Secret"):
                    assert {item["key"] for item in secret.get("items", ())} <= rendering.secret(
                        made
                    ).keys(), name


def _selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def test_selectors_find_the_pods_of_one_workload(rendering: Rendering) -> None:
    pods = list(rendering.pods())
    for workload in rendering.of_kind("Deployment", "StatefulSet"):
        found = [
            name
            for name, pod in pods
            if _selects(workload["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"])
        ]
        assert found == [f"{workload['kind']}/{workload['metadata']['name']}"]
    for service in rendering.of_kind("Service"):
        found = [pod for _, pod in pods if _selects(service["spec"]["selector"], pod["metadata"]["labels"])]
        assert len(found) == 1, service["metadata"]["name"]
        ports = {port["name"] for port in found[0]["spec"]["containers"][0]["ports"]}
        numbers = {port["containerPort"] for port in found[0]["spec"]["containers"][0]["ports"]}
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports | numbers, service["metadata"]["name"]
    for budget in rendering.of_kind("PodDisruptionBudget"):
        selector = budget["spec"]["selector"]["matchLabels"]
        assert len([name for name, pod in pods if _selects(selector, pod["metadata"]["labels"])]) == 1


def test_replicas_are_said_only_where_nothing_scales(rendering: Rendering) -> None:
    scalers = rendering.of_kind("HorizontalPodAutoscaler", "ScaledObject")
    targets = [each["spec"]["scaleTargetRef"]["name"] for each in scalers]
    assert len(targets) == len(set(targets))
    for deployment in rendering.of_kind("Deployment"):
        assert ("replicas" in deployment["spec"]) != (deployment["metadata"]["name"] in targets)
    for scaler in rendering.of_kind("HorizontalPodAutoscaler"):
        assert scaler["spec"]["metrics"]


def test_pod_security_restricted_admits_every_pod(rendering: Rendering) -> None:
    for name, pod, container in _containers(rendering):
        context, own = pod["spec"]["securityContext"], container["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert own["readOnlyRootFilesystem"] is True
        assert not pod["spec"].keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
        assert not any("hostPort" in port for port in container.get("ports", ()))
        allowed = {"configMap", "emptyDir", "projected", "secret", "persistentVolumeClaim"}
        assert all(volume.keys() - {"name"} <= allowed for volume in pod["spec"]["volumes"])


def test_pods_have_no_token_and_no_variables_of_other_services(rendering: Rendering) -> None:
    for _, pod in rendering.pods():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False
    assert all(each["automountServiceAccountToken"] is False for each in rendering.of_kind("ServiceAccount"))


def test_containers_say_what_they_need_and_how_they_are(rendering: Rendering) -> None:
    for name, _, container in _containers(rendering):
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
        assert "memory" in container["resources"]["limits"], name
        serves = name.startswith(("Deployment/", "StatefulSet/"))
        assert all(
            (f"{kind}Probe" in container) == serves for kind in ("startup", "liveness", "readiness")
        ), name


def test_probes_ask_the_process_and_nothing_behind_it(rendering: Rendering) -> None:
    for deployment in rendering.of_kind("Deployment"):
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        paths = {
            kind: container[f"{kind}Probe"]["httpGet"]["path"]
            for kind in ("startup", "liveness", "readiness")
        }
        assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}


def test_bundled_images_are_pinned(helm: Helm) -> None:
    for kind in ("seaweedfs", "minio"):
        rendering = helm.template({"objectStore": {"bundled": {"kind": kind}}})
        images = [
            each["spec"]["template"]["spec"]["containers"][0]["image"]
            for each in rendering.of_kind("StatefulSet")
        ]
        assert len(images) == 3
        assert all("@sha256:" in image for image in images)


def test_loaded_images_have_the_names_and_versions_that_are_built(render: Any) -> None:
    rendering: Rendering = render("loaded-images")
    used = {container["image"].removeprefix("docker.io/") for _, _, container in _containers(rendering)}
    names = [*ask_tree("services"), *ask_tree("bundled")]
    assert used == {f"postroom/{name}:{ask_tree('version', name)[0]}" for name in names}
    for _, _, container in _containers(rendering):
        assert container["imagePullPolicy"] == "IfNotPresent"


def test_a_registry_stands_before_every_image(render: Any) -> None:
    rendering: Rendering = render("local-images")
    for _, _, container in _containers(rendering):
        assert container["image"].startswith("registry.example:5000/")
        assert container["imagePullPolicy"] == "Never"


def test_a_pod_is_killed_only_after_its_drain(render: Any) -> None:
    rendering: Rendering = render("bundled")
    for deployment in rendering.of_kind("Deployment"):
        name = deployment["metadata"]["name"].removeprefix("postroom-")
        spec = deployment["spec"]["template"]["spec"]
        environment = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
        prefix = f"POSTROOM_{name.upper().replace('-', '_')}"
        hook = spec["containers"][0].get("lifecycle", {})
        asleep = hook["preStop"]["sleep"]["seconds"] if hook else 0
        assert bool(asleep) == (name != "smtp-outbound")  # to which nobody connects
        times = 2 if name == "mailstore" else 1  # first for calls, then for jobs
        assert spec["terminationGracePeriodSeconds"] > asleep + times * int(
            environment[f"{prefix}_DRAIN_SECONDS"]
        )
        assert environment[f"{prefix}_UNREADY_SECONDS"] == "0"


def test_start_scripts_are_in_the_chart(rendering: Rendering) -> None:
    for each in rendering.of_kind("StatefulSet"):
        container = each["spec"]["template"]["spec"]["containers"][0]
        for argument in [*container["command"], *container.get("args", ())]:
            if argument.startswith("/etc/postroom/files/"):
                files = rendering.get("ConfigMap", each["metadata"]["name"])["data"]
                assert files[Path(argument).name].strip()
