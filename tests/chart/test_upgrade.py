"""What an upgrade changes, with helm asking a cluster for the Secrets that are there."""

import json
import threading
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from postroom_testing.chart import EXTENSIONS, Helm, Manifest, Rendering

Upgrade = Callable[..., Rendering]
_SECRETS = "/api/v1/namespaces/mail/secrets/"
_NOT_FOUND = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


def _discovery(kinds: set[tuple[str, str]]) -> dict[str, Manifest]:
    """What Kubernetes says of the (apiVersion, kind) that it has."""
    found: dict[str, Manifest] = {
        "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    }
    for version in sorted({version for version, _ in kinds}):
        names = sorted(kind for each, kind in kinds if each == version)
        resources = [
            {"name": f"{kind.lower()}s", "namespaced": True, "kind": kind, "verbs": ["get"]} for kind in names
        ]
        group, slash, number = version.rpartition("/")
        listed = {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        found[f"/apis/{version}" if slash else f"/api/{version}"] = listed
        if slash:
            known = {"groupVersion": version, "version": number}
            found["/apis"]["groups"].append({"name": group, "versions": [known], "preferredVersion": known})
    return found


def _installed(manifest: Manifest) -> Manifest:
    """As it is in the cluster, where helm has written whose it is."""
    metadata = manifest["metadata"]
    owner = {"meta.helm.sh/release-name": "postroom", "meta.helm.sh/release-namespace": "mail"}
    return {**manifest, "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **owner}}}


@contextmanager
def _cluster(rendering: Rendering, gone: Collection[str]) -> Generator[str]:
    """As much of Kubernetes' API as helm asks, with the Secrets that are not `gone`; gives its URL."""
    discovery = _discovery({(each["apiVersion"], each["kind"]) for each in rendering.manifests})
    secrets = {each["metadata"]["name"]: _installed(each) for each in rendering.of_kind("Secret")}

    class Api(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one packet, or the other end's delayed acknowledgement is waited for

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            name = path.removeprefix(_SECRETS)
            found = discovery.get(path) or (secrets.get(name) if name not in gone else None)
            body = json.dumps(found or _NOT_FOUND).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _upgrade(program: Helm, values: Mapping[str, Any], there: Rendering, *gone: str) -> Rendering:
    """Render where the Secrets of an earlier rendering are, but for those that are `gone`."""
    with _cluster(there, gone) as url:
        options = [
            "--dry-run=server",
            f"--kube-apiserver={url}",
            "--disable-openapi-validation",
            "--qps=1000",
            "--burst-limit=1000",
        ]
        return program.template(values, extensions=EXTENSIONS, options=options)


@pytest.fixture(params=["helm", "helm3"])
def program(request: pytest.FixtureRequest) -> Helm:
    """Helm 4 and Helm 3."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Helm)
    return found


def _secrets(rendering: Rendering) -> dict[str, dict[str, bytes]]:
    return {name: rendering.secret(name) for name in rendering.names("Secret")}


def test_an_upgrade_without_a_change_changes_nothing(program: Helm) -> None:
    first = program.template()
    again = _upgrade(program, {}, first)
    assert again.manifests == first.manifests


def test_an_upgrade_of_the_image_keeps_all_secrets(helm: Helm) -> None:
    first = helm.template({"image": {"tag": "1"}})
    second = _upgrade(helm, {"image": {"tag": "2"}}, first)
    assert _secrets(second) == _secrets(first)
    images = {
        pod["spec"]["containers"][0]["image"] for name, pod in second.pods() if name.startswith("Deployment/")
    }
    assert all(image.endswith(":2") for image in images)
    # What cannot be changed has another name.
    assert not second.names("Job") & first.names("Job")
    for kind in ("Deployment", "StatefulSet"):
        for before in first.of_kind(kind):
            after = second.get(kind, before["metadata"]["name"])
            assert after["spec"]["selector"] == before["spec"]["selector"]
            assert after["spec"].get("volumeClaimTemplates") == before["spec"].get("volumeClaimTemplates")


def test_without_a_cluster_to_look_at_secrets_are_made_anew(helm: Helm) -> None:
    first, second = _secrets(helm.template()), _secrets(helm.template())
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


def test_another_host_name_renews_the_public_certificate_only(helm: Helm) -> None:
    first = helm.template()
    second = _upgrade(helm, {"hostname": "mail.example.org"}, first)
    before, after = _secrets(first), _secrets(second)
    assert {name for name in before if before[name] != after[name]} == {"postroom-tls"}


def test_a_new_authority_signs_all_certificates_anew(helm: Helm) -> None:
    first = helm.template()
    second = _upgrade(helm, {}, first, "postroom-grpc-ca")
    before, after = _secrets(first), _secrets(second)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in before if "-grpc" in name}
    authority = after["postroom-grpc-ca"]["tls.crt"]
    assert all(after[name]["ca.crt"] == authority for name in changed - {"postroom-grpc-ca"})


def test_a_service_that_comes_later_gets_a_certificate_of_the_same_authority(helm: Helm) -> None:
    first = helm.template({"services": {"ftp-gateway": {"enabled": False}}})
    second = _upgrade(helm, {"tls": {"dnsNames": []}}, first)
    before, after = _secrets(first), _secrets(second)
    assert after["postroom-grpc-ca"] == before["postroom-grpc-ca"]
    assert after["postroom-ftp-gateway-grpc"]["ca.crt"] == before["postroom-grpc-ca"]["tls.crt"]


def test_a_password_that_somebody_changed_reaches_the_url(helm: Helm) -> None:
    first = helm.template()
    there = [
        {**each, "data": {**each["data"], "password": "Y2hhbmdlZA=="}}
        if each["metadata"]["name"] == "postroom-postgres-mailstore"
        else each
        for each in first.manifests
    ]
    second = _upgrade(helm, {}, Rendering(tuple(there)))
    role = second.secret("postroom-postgres-mailstore")
    assert role["password"] == b"changed"
    assert role["uri"] == b"postgresql://mailstore:changed@postroom-postgres:5432/postroom"
