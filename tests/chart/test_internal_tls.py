"""The certificates that the chart makes let the services know each other, over gRPC as it is in the pods."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from directory.policy import POLICY
from postroom.directory.v1 import directory_pb2, directory_pb2_grpc
from postroom_contracts.errors import NotPermittedError, UnavailableError
from postroom_runtime.grpc_client import channel
from postroom_runtime.grpc_server import caller, serve_grpc
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tls import GrpcTls
from postroom_testing.chart import Helm, Rendering

Render = Callable[[str], Rendering]
_KEYS = directory_pb2.GetCapabilityKeysRequest()


class _Directory(directory_pb2_grpc.DirectoryServiceServicer):
    """Notes who calls."""

    def __init__(self) -> None:
        self.callers: list[str] = []

    async def GetCapabilityKeys(  # noqa: N802
        self, request: directory_pb2.GetCapabilityKeysRequest, context: object
    ) -> directory_pb2.GetCapabilityKeysResponse:
        self.callers.append(caller())
        return directory_pb2.GetCapabilityKeysResponse()

    async def ListDomains(  # noqa: N802
        self, request: directory_pb2.ListDomainsRequest, context: object
    ) -> directory_pb2.ListDomainsResponse:
        self.callers.append(caller())
        return directory_pb2.ListDomainsResponse()


def _files(rendering: Rendering, service: str, folder: Path) -> GrpcTls:
    place = folder / service
    place.mkdir()
    for name, octets in rendering.secret(f"postroom-{service}-grpc").items():
        (place / name).write_bytes(octets)
    return GrpcTls(place / "tls.crt", place / "tls.key", place / "ca.crt")


def test_each_certificate_names_one_service(render: Render) -> None:
    rendering = render("bundled")
    authority = x509.load_pem_x509_certificate(rendering.secret("postroom-grpc-ca")["tls.crt"])
    for deployment in rendering.of_kind("Deployment"):
        service = deployment["metadata"]["labels"]["app.kubernetes.io/component"]
        data = rendering.secret(f"postroom-{service}-grpc")
        certificate = x509.load_pem_x509_certificate(data["tls.crt"])
        certificate.verify_directly_issued_by(authority)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [service]


async def test_services_know_each_other_by_these_certificates(helm: Helm, tmp_path: Path) -> None:
    rendering = helm.template({"setup": {"domains": ["example.org"]}})
    # Abstract: what it does not have answers UNIMPLEMENTED, which is what is wanted.
    directory = _Directory()  # pyright: ignore[reportAbstractUsage]

    def add(server: grpc.aio.Server) -> None:
        directory_pb2_grpc.add_DirectoryServiceServicer_to_server(directory, server)

    tls = {
        name: _files(rendering, name, tmp_path) for name in ("directory", "mailstore", "mail-access", "setup")
    }
    server = await serve_grpc("127.0.0.1:0", add, policy=POLICY, tls=tls["directory"], lifecycle=Lifecycle())
    async with server:
        address = f"127.0.0.1:{server.port}"
        # What a caller says of itself does not count.
        async with channel(address, "webmail-api", tls["mailstore"], server="directory") as stores:
            stub = directory_pb2_grpc.DirectoryServiceStub(stores)
            await stub.GetCapabilityKeys(_KEYS)
            with pytest.raises(NotPermittedError):
                await stub.ListTenants(directory_pb2.ListTenantsRequest())
        async with channel(address, "webmail-api", tls["setup"], server="directory") as declaring:
            stub = directory_pb2_grpc.DirectoryServiceStub(declaring)
            await stub.ListDomains(directory_pb2.ListDomainsRequest())
            with pytest.raises(NotPermittedError):
                await stub.DeleteDomain(directory_pb2.DeleteDomainRequest())
        async with channel(address, "mail-access", tls["mail-access"], server="mailstore") as wrong:
            with pytest.raises(UnavailableError):
                await directory_pb2_grpc.DirectoryServiceStub(wrong).GetCapabilityKeys(_KEYS)
    assert directory.callers == ["mailstore", "setup"]


def test_cert_manager_is_asked_for_the_same_names(render: Render) -> None:
    rendering = render("external")
    names = {
        each["metadata"]["name"]: each["spec"].get("dnsNames") for each in rendering.of_kind("Certificate")
    }
    assert names.pop("postroom-tls") == ["mail.example.org", "imap.example.org", "smtp.example.org"]
    assert names.pop("postroom-grpc-ca") is None
    assert names == {f"postroom-{dns[0]}-grpc": dns for dns in names.values() if dns}
    assert len(names) == 8 + 1  # external-values.yaml declares something
