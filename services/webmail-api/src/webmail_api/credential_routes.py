"""`/account` and `/admin/accounts/{address}`: app passwords and SCRAM."""

from typing import TypeVar
from uuid import UUID

import grpc
from fastapi import APIRouter, Response

from postroom.directory.v1 import credential_pb2 as pb
from postroom_contracts.errors import AppPasswordNotFoundError
from postroom_contracts.ids import new_id
from postroom_runtime.grpc_client import ask_twice, on_behalf_of
from webmail_api.access import PROBLEMS, CurrentAdministrator, CurrentUser, PathId, PrivatePeer, Shared
from webmail_api.credential_models import (
    AppPassword,
    AppPasswordList,
    MadeAppPassword,
    NewAppPassword,
    Scram,
    ScramPassword,
    app_password_of,
    creation_of,
    new_password,
)
from webmail_api.limits import DEFAULT_LIMITS

Q = TypeVar("Q")
A = TypeVar("A")

router = APIRouter(responses=PROBLEMS)

_OWN = "/account/app-passwords"
_ANY_SCRAM = "/admin/accounts/{address:path}/scram"
_ANY = "/admin/accounts/{address:path}/app-passwords"


@router.get(_OWN, operation_id="listOwnAppPasswords", tags=["account"])
async def list_own(user: CurrentUser, house: Shared) -> AppPasswordList:
    """My app passwords."""
    request = pb.ListAppPasswordsRequest()
    answer = await _ask(user.capability, house.credentials.ListAppPasswords, request)
    return AppPasswordList(items=[app_password_of(each) for each in answer.app_passwords])


@router.post(_OWN, operation_id="createOwnAppPassword", status_code=201, tags=["account"])
async def create_own(wanted: NewAppPassword, user: CurrentUser, house: Shared) -> MadeAppPassword:
    """Make a password for one of my programs."""
    request = creation_of(wanted, password := new_password())
    request.operation_id = new_id().bytes
    answer = await _ask(user.capability, house.credentials.CreateAppPassword, request)
    return _made(app_password_of(answer.app_password), password)


@router.delete(
    _OWN + "/{id}",
    operation_id="deleteOwnAppPassword",
    status_code=204,
    response_class=Response,
    tags=["account"],
)
async def delete_own(app_password_id: PathId, user: CurrentUser, house: Shared) -> None:
    """End one of them, with all that is logged in by it."""
    request = pb.DeleteAppPasswordRequest(id=_id_of(app_password_id), operation_id=new_id().bytes)
    await _ask(user.capability, house.credentials.DeleteAppPassword, request)


@router.get("/account/scram", operation_id="getOwnScram", tags=["account"])
async def get_scram(user: CurrentUser, house: Shared) -> Scram:
    """Whether I can log in by SCRAM."""
    answer = await _ask(user.capability, house.credentials.GetScram, pb.GetScramRequest())
    return Scram(enabled=answer.enabled)


@router.put("/account/scram", operation_id="enableOwnScram", tags=["account"])
async def enable_scram(wanted: ScramPassword, user: CurrentUser, peer: PrivatePeer, house: Shared) -> Scram:
    """Keep SCRAM keys of my password, and of those that follow it.

    They let whoever steals the database try passwords at a lower price.
    """
    password = wanted.password.get_secret_value()
    request = pb.EnableScramRequest(password=password, peer_address=peer)
    await _ask(user.capability, house.credentials.EnableScram, request)
    return Scram(enabled=True)


@router.delete(
    "/account/scram",
    operation_id="disableOwnScram",
    status_code=204,
    response_class=Response,
    tags=["account"],
)
async def disable_scram(user: CurrentUser, house: Shared) -> None:
    """Forget them."""
    await _ask(user.capability, house.credentials.DisableScram, pb.DisableScramRequest())


@router.get(_ANY, operation_id="listAppPasswords", tags=["admin"])
async def list_any(address: str, admin: CurrentAdministrator, house: Shared) -> AppPasswordList:
    """The app passwords of an account."""
    request = pb.ListAppPasswordsRequest(address=address)
    answer = await _ask(admin.capability, house.credentials.ListAppPasswords, request)
    return AppPasswordList(items=[app_password_of(each) for each in answer.app_passwords])


@router.post(_ANY, operation_id="createAppPassword", status_code=201, tags=["admin"])
async def create_any(
    address: str, wanted: NewAppPassword, admin: CurrentAdministrator, house: Shared
) -> MadeAppPassword:
    """Make a password for a program of an account."""
    request = creation_of(wanted, password := new_password(), address)
    request.operation_id = new_id().bytes
    answer = await _ask(admin.capability, house.credentials.CreateAppPassword, request)
    return _made(app_password_of(answer.app_password), password)


@router.delete(
    _ANY + "/{id}",
    operation_id="deleteAppPassword",
    status_code=204,
    response_class=Response,
    tags=["admin"],
)
async def delete_any(
    address: str, app_password_id: PathId, admin: CurrentAdministrator, house: Shared
) -> None:
    """End one, with all that is logged in by it."""
    request = pb.DeleteAppPasswordRequest(
        address=address, id=_id_of(app_password_id), operation_id=new_id().bytes
    )
    await _ask(admin.capability, house.credentials.DeleteAppPassword, request)


@router.get(_ANY_SCRAM, operation_id="getScram", tags=["admin"])
async def get_any_scram(address: str, admin: CurrentAdministrator, house: Shared) -> Scram:
    """Whether an account can log in by SCRAM."""
    request = pb.GetScramRequest(address=address)
    return Scram(enabled=(await _ask(admin.capability, house.credentials.GetScram, request)).enabled)


@router.put(_ANY_SCRAM, operation_id="enableScram", tags=["admin"])
async def enable_any_scram(
    address: str, wanted: ScramPassword, admin: CurrentAdministrator, peer: PrivatePeer, house: Shared
) -> Scram:
    """Keep SCRAM keys of an account's password, which has to be given, and of those that follow it."""
    password = wanted.password.get_secret_value()
    request = pb.EnableScramRequest(address=address, password=password, peer_address=peer)
    await _ask(admin.capability, house.credentials.EnableScram, request)
    return Scram(enabled=True)


@router.delete(
    _ANY_SCRAM, operation_id="disableScram", status_code=204, response_class=Response, tags=["admin"]
)
async def disable_any_scram(address: str, admin: CurrentAdministrator, house: Shared) -> None:
    """Forget them."""
    request = pb.DisableScramRequest(address=address)
    await _ask(admin.capability, house.credentials.DisableScram, request)


def _made(made: AppPassword, password: str) -> MadeAppPassword:
    return MadeAppPassword(**made.model_dump(), password=password)


def _id_of(text: str) -> bytes:
    try:
        return UUID(text).bytes
    except ValueError:
        raise AppPasswordNotFoundError from None


async def _ask(capability: str, call: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q) -> A:
    """Again with the same id when nobody knows whether it was done; what has none is harmless twice."""
    metadata = on_behalf_of(capability)
    return await ask_twice(call, request, seconds=DEFAULT_LIMITS.call_seconds, metadata=metadata)
