"""`/admin`: whether the stores are in order, and what is done after a restore."""

from typing import Annotated

from fastapi import APIRouter, Query

from postroom.directory.v1 import directory_pb2
from postroom.doctor.v1 import doctor_pb2
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import InvalidRequestError, UnavailableError
from postroom_contracts.ids import new_id
from webmail_api.access import PROBLEMS, CurrentAdministrator, Shared
from webmail_api.admin_calls import change, options
from webmail_api.identifiers import parse_text_cursor, text_cursor
from webmail_api.upkeep_models import (
    Examination,
    Finding,
    Garbage,
    RenewedUidValidity,
    RenewUidValidity,
    finding_of,
)

Cursor = Annotated[str | None, Query(max_length=2_000, description="`next_cursor` of the part before.")]

router = APIRouter(prefix="/admin", tags=["admin"], responses=PROBLEMS)


@router.get("/examination", operation_id="examine")
async def examine(admin: CurrentAdministrator, house: Shared, cursor: Cursor = None) -> Examination:
    """Look whether rows, counters and buckets agree, a part at a time. Nothing is changed."""
    names = list(house.doctors)
    name, _, inner = parse_text_cursor(cursor).partition(":")
    name = name or names[0]
    if name not in house.doctors:
        raise InvalidRequestError("not a cursor of ours")
    following = names[names.index(name) + 1 :]
    request = doctor_pb2.ExamineRequest(cursor=inner)
    try:
        answer = await house.doctors[name].Examine(request, **options(admin))
    except UnavailableError:
        if inner:  # it was there a moment ago: ask again
            raise
        away = Finding(kind="service-away", subject=name, detail="it does not answer, or cannot work")
        answer, items = doctor_pb2.ExamineResponse(), [away]
    else:
        items = [finding_of(finding) for finding in answer.findings]
    at = f"{name}:{answer.next_cursor}" if answer.next_cursor else ""
    return Examination(
        items=items,
        examined=dict(answer.examined),
        garbage=Garbage(objects=answer.garbage_objects, octets=answer.garbage_octets),
        next_cursor=text_cursor(at or (f"{following[0]}:" if following else "")),
    )


@router.post("/uid-validity", operation_id="renewUidValidity")
async def renew_uid_validity(
    wanted: RenewUidValidity, admin: CurrentAdministrator, house: Shared
) -> RenewedUidValidity:
    """Give mailboxes another UIDVALIDITY after a restore, a slice at a time: clients load them anew."""
    request = mailbox_pb2.RenewUidValidityRequest(operation_id=new_id().bytes)
    if wanted.address is not None:
        of = directory_pb2.GetAccountRequest(address=wanted.address)
        request.account_id = (await house.directory.GetAccount(of, **options(admin))).account.id
    try:
        request.after_account_id = bytes.fromhex(parse_text_cursor(wanted.cursor))
    except ValueError:
        raise InvalidRequestError("not a cursor of ours") from None
    renewed = await change(admin, house.mailboxes.RenewUidValidity, request)
    return RenewedUidValidity(
        accounts=renewed.accounts,
        mailboxes=renewed.mailboxes,
        next_cursor=text_cursor(renewed.last_account_id.hex()),
    )
