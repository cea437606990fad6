"""A bare installation as pods of the images that `make image-test` builds; others collect no tests here."""

import os
import secrets
import ssl
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from postroom_testing.chart import CHART, Helm
from postroom_testing.image import Image, unpacked_images
from postroom_testing.pods import Pods, pod_network, running_pods
from postroom_testing.runtimes import Roots, Runtime, running_containerd
from postroom_testing.stack import in_thread
from postroom_testing.traffic import Account
from postroom_testing.world import World, world

DOMAIN = "postroom.test"
DECLARED = Account(f"ann@{DOMAIN}", "correct horse battery")

collect_ignore_glob = [] if os.environ.get("POSTROOM_IMAGE_ROOTS") else ["test_*.py"]


@pytest.fixture(scope="session", name="world")
def _world() -> Iterator[World]:
    with pod_network(), in_thread(world) as outside:
        yield outside


@pytest.fixture(scope="session")
def pods(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    """The release as for nodes that reach no registry, with a domain and an account that values declare."""
    helm = Helm(Path(os.environ["POSTROOM_HELM_TOOLS"]) / "helm")
    first = {"name": "first-passwords", "key": "ann"}
    setup = {"domains": [DOMAIN], "accounts": [{"address": DECLARED.address, "passwordSecret": first}]}
    rendering = helm.template({"setup": setup}, files=[CHART / "ci/loaded-images-values.yaml"])
    given = {"first-passwords": {"ann": DECLARED.password.encode()}}
    before = os.environ.get("POSTROOM_IMAGE_ROOTS_BEFORE")
    images = unpacked_images(Path(before or os.environ["POSTROOM_IMAGE_ROOTS"]))
    place = tmp_path_factory.mktemp("pods")
    with _runtime(images) as runtime:
        named = {image.service: image for image in images}
        with running_pods(rendering, named, given, world.names, place, runtime) as pods:
            yield pods


@contextmanager
def _runtime(images: Sequence[Image]) -> Generator[Runtime]:
    """Containers where `make pod-test` has fetched containerd, or else processes."""
    if not (tools := os.environ.get("POSTROOM_CONTAINER_TOOLS")):
        yield Roots()
        return
    with running_containerd(Path(tools)) as containerd:
        containerd.import_images(images, Path(os.environ["POSTROOM_IMAGE_ROOTS"]).parent)
        yield containerd


@pytest.fixture(scope="session")
def trust(pods: Pods) -> ssl.SSLContext:
    """Who trusts the authority that the chart has made; pods are known by their addresses only."""
    context = ssl.create_default_context(cadata=pods.rendering.secret("postroom-tls")["ca.crt"].decode())
    context.check_hostname = False
    return context


@pytest.fixture
def account(pods: Pods, trust: ssl.SSLContext) -> Account:
    """A fresh one."""
    account = Account(f"{secrets.token_hex(4)}@{DOMAIN}", "correct horse battery")
    _administer(pods, trust, "accounts", {"address": account.address, "password": account.password})
    return account


@pytest.fixture
def declared() -> Account:
    """The one that values declare."""
    return DECLARED


def _administer(pods: Pods, trust: ssl.SSLContext, path: str, document: Mapping[str, str]) -> None:
    """As the administrator, with the token from the chart's Secret."""
    token = pods.rendering.secret("postroom-admin")["token"].decode()
    url = f"https://{pods.address('webmail-api')}:2443/api/v1/admin/{path}"
    with httpx.Client(verify=trust, trust_env=False, timeout=20.0) as api:
        api.post(url, json=document, headers={"Authorization": f"Bearer {token}"}).raise_for_status()
