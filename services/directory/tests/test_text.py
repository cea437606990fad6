"""Text that is none: in every string field of every request it is the request's fault, and nobody else's."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from postroom.directory.v1 import directory_pb2 as pb
from postroom_contracts.errors import InvalidRequestError, from_rpc_error

PASSWORD = "correct horse battery"

REQUESTS: dict[str, Message] = {
    "Authenticate": pb.AuthenticateRequest(
        address="ann@example.com", password=PASSWORD, scope=pb.SCOPE_IMAP, peer_address="192.0.2.1"
    ),
    "AuthenticateAdmin": pb.AuthenticateAdminRequest(token="x"),
    "RenewCapability": pb.RenewCapabilityRequest(token="x"),
    "ResolveRecipients": pb.ResolveRecipientsRequest(addresses=["ann@example.com"]),
    "ListTenants": pb.ListTenantsRequest(),
    "CreateDomain": pb.CreateDomainRequest(name="new.example"),
    "ListDomains": pb.ListDomainsRequest(),
    "DeleteDomain": pb.DeleteDomainRequest(name="example.com"),
    "CreateAccount": pb.CreateAccountRequest(address="new@example.com", password=PASSWORD),
    "FindAccounts": pb.FindAccountsRequest(addresses=["ann@example.com"]),
    "GetAccount": pb.GetAccountRequest(address="ann@example.com"),
    "ListAccounts": pb.ListAccountsRequest(),
    "SetPassword": pb.SetPasswordRequest(address="ann@example.com", password=PASSWORD),
    "DeleteAccount": pb.DeleteAccountRequest(address="ann@example.com"),
    "SetQuota": pb.SetQuotaRequest(address="ann@example.com"),
    "CreateAlias": pb.CreateAliasRequest(address="new@example.com", targets=["ann@example.com"]),
    "ListAliases": pb.ListAliasesRequest(),
    "DeleteAlias": pb.DeleteAliasRequest(address="alias@example.com"),
}
FIELDS = [
    (method, field.name)
    for method, request in REQUESTS.items()
    for field in request.DESCRIPTOR.fields
    if field.type == FieldDescriptor.TYPE_STRING
]


def _with_octets(request: Message, name: str, octets: bytes) -> bytes:
    """The request on the wire with one more value of the field; the last one counts, or all do."""
    number = request.DESCRIPTOR.fields_by_name[name].number
    return request.SerializeToString() + bytes([number << 3 | 2, len(octets)]) + octets


def _bad() -> Iterator[bytes]:
    yield b"ann\x00@example.com"
    yield "ann\ud800@example.com".encode("utf-8", "surrogatepass")
    yield b"\xff\xfe"


async def test_nul_and_lone_surrogates_are_refused_in_every_field(replica: Any, admin: Any) -> None:
    errors: dict[tuple[str, str, bytes], type[Exception]] = {}
    async with grpc.aio.insecure_channel(replica.address) as channel:
        for method, field in FIELDS:
            service = "mail-access" if method == "Authenticate" else "webmail-api"
            metadata = (*admin.metadata, ("postroom-service", service))
            path = f"/postroom.directory.v1.DirectoryService/{method}"
            call = cast(Callable[..., Awaitable[bytes]], channel.unary_unary(path))  # octets in, octets out
            for octets in _bad():
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(_with_octets(REQUESTS[method], field, octets), metadata=metadata, timeout=5)
                errors[method, field, octets] = type(from_rpc_error(caught.value))
    assert errors == dict.fromkeys(errors, InvalidRequestError)
    assert len(errors) == len(FIELDS) * 3


def test_every_method_with_text_is_in_the_table() -> None:
    methods = pb.DESCRIPTOR.services_by_name["DirectoryService"].methods
    texts = {
        method.name
        for method in methods
        if any(field.type == FieldDescriptor.TYPE_STRING for field in method.input_type.fields)
    }
    assert texts == {*REQUESTS}
