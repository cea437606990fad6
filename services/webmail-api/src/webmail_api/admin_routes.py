"""`/admin`: tenants, domains, accounts, aliases and the queue, for the administrator."""

from fastapi import APIRouter, Response

from postroom.directory.v1 import directory_pb2 as pb
from postroom.mailstore.v1 import queue_pb2
from postroom_contracts.errors import InvalidRequestError, MessageNotFoundError
from postroom_contracts.ids import new_id, parse_queue_id
from webmail_api.access import PROBLEMS, CurrentAdministrator, ListPage, PathId, Shared
from webmail_api.admin_calls import change, options
from webmail_api.admin_models import (
    Account,
    AccountList,
    Alias,
    AliasList,
    Domain,
    DomainList,
    NewAccount,
    NewAlias,
    NewDomain,
    NewPassword,
    Queue,
    QueueChange,
    QueuedMessage,
    Quota,
    Tenant,
    TenantList,
    account_of,
    alias_of,
    domain_of,
    queued_of,
)
from webmail_api.identifiers import parse_text_cursor, text_cursor, uuid_text

router = APIRouter(prefix="/admin", tags=["admin"], responses=PROBLEMS)


@router.get("/tenants", operation_id="listTenants")
async def list_tenants(page: ListPage, admin: CurrentAdministrator, house: Shared) -> TenantList:
    """All tenants."""
    request = pb.ListTenantsRequest(cursor=parse_text_cursor(page.cursor), limit=page.limit)
    found = await house.directory.ListTenants(request, **options(admin))
    items = [Tenant(id=uuid_text(tenant.id), name=tenant.name) for tenant in found.tenants]
    return TenantList(items=items, next_cursor=text_cursor(found.next_cursor))


@router.get("/domains", operation_id="listDomains")
async def list_domains(page: ListPage, admin: CurrentAdministrator, house: Shared) -> DomainList:
    """All domains."""
    request = pb.ListDomainsRequest(cursor=parse_text_cursor(page.cursor), limit=page.limit)
    found = await house.directory.ListDomains(request, **options(admin))
    return DomainList(
        items=[domain_of(domain) for domain in found.domains], next_cursor=text_cursor(found.next_cursor)
    )


@router.post("/domains", operation_id="createDomain", status_code=201)
async def create_domain(wanted: NewDomain, admin: CurrentAdministrator, house: Shared) -> Domain:
    """Take mail for a domain."""
    request = pb.CreateDomainRequest(name=wanted.name, operation_id=new_id().bytes)
    return domain_of((await change(admin, house.directory.CreateDomain, request)).domain)


@router.delete("/domains/{name}", operation_id="deleteDomain", status_code=204, response_class=Response)
async def delete_domain(name: str, admin: CurrentAdministrator, house: Shared) -> None:
    """Take no more mail for a domain in which nobody lives."""
    request = pb.DeleteDomainRequest(name=name, operation_id=new_id().bytes)
    await change(admin, house.directory.DeleteDomain, request)


@router.get("/accounts", operation_id="listAccounts")
async def list_accounts(page: ListPage, admin: CurrentAdministrator, house: Shared) -> AccountList:
    """All accounts."""
    request = pb.ListAccountsRequest(cursor=parse_text_cursor(page.cursor), limit=page.limit)
    found = await house.directory.ListAccounts(request, **options(admin))
    return AccountList(
        items=[account_of(account) for account in found.accounts],
        next_cursor=text_cursor(found.next_cursor),
    )


@router.post("/accounts", operation_id="createAccount", status_code=201)
async def create_account(wanted: NewAccount, admin: CurrentAdministrator, house: Shared) -> Account:
    """Give somebody a mailbox."""
    request = pb.CreateAccountRequest(
        address=wanted.address,
        password=wanted.password.get_secret_value(),
        display_name=wanted.display_name,
        operation_id=new_id().bytes,
    )
    return account_of((await change(admin, house.directory.CreateAccount, request)).account)


# An address may have a slash in it, so it is a path; the longer one comes first.
@router.put(
    "/accounts/{address:path}/password",
    operation_id="setPassword",
    status_code=204,
    response_class=Response,
)
async def set_password(address: str, wanted: NewPassword, admin: CurrentAdministrator, house: Shared) -> None:
    """Give an account another password."""
    request = pb.SetPasswordRequest(
        address=address, password=wanted.password.get_secret_value(), operation_id=new_id().bytes
    )
    await change(admin, house.directory.SetPassword, request)


@router.put("/accounts/{address:path}/quota", operation_id="setQuota")
async def set_quota(address: str, wanted: Quota, admin: CurrentAdministrator, house: Shared) -> Account:
    """Say how much mail an account may keep; it holds for logins from some minutes on."""
    quota = pb.Quota(octets=wanted.octets, messages=wanted.messages)
    request = pb.SetQuotaRequest(address=address, quota=quota, operation_id=new_id().bytes)
    return account_of((await change(admin, house.directory.SetQuota, request)).account)


@router.get("/accounts/{address:path}", operation_id="getAccount")
async def get_account(address: str, admin: CurrentAdministrator, house: Shared) -> Account:
    """One account."""
    request = pb.GetAccountRequest(address=address)
    return account_of((await house.directory.GetAccount(request, **options(admin))).account)


@router.delete(
    "/accounts/{address:path}", operation_id="deleteAccount", status_code=204, response_class=Response
)
async def delete_account(address: str, admin: CurrentAdministrator, house: Shared) -> None:
    """Take an account away; its address is free again."""
    request = pb.DeleteAccountRequest(address=address, operation_id=new_id().bytes)
    await change(admin, house.directory.DeleteAccount, request)


@router.get("/aliases", operation_id="listAliases")
async def list_aliases(page: ListPage, admin: CurrentAdministrator, house: Shared) -> AliasList:
    """All aliases."""
    request = pb.ListAliasesRequest(cursor=parse_text_cursor(page.cursor), limit=page.limit)
    found = await house.directory.ListAliases(request, **options(admin))
    return AliasList(
        items=[alias_of(alias) for alias in found.aliases], next_cursor=text_cursor(found.next_cursor)
    )


@router.post("/aliases", operation_id="createAlias", status_code=201)
async def create_alias(wanted: NewAlias, admin: CurrentAdministrator, house: Shared) -> Alias:
    """Let an address lead to others."""
    request = pb.CreateAliasRequest(
        address=wanted.address, targets=wanted.targets, operation_id=new_id().bytes
    )
    return alias_of((await change(admin, house.directory.CreateAlias, request)).alias)


@router.delete(
    "/aliases/{address:path}", operation_id="deleteAlias", status_code=204, response_class=Response
)
async def delete_alias(address: str, admin: CurrentAdministrator, house: Shared) -> None:
    """Take an alias away."""
    request = pb.DeleteAliasRequest(address=address, operation_id=new_id().bytes)
    await change(admin, house.directory.DeleteAlias, request)


@router.get("/queue", operation_id="listQueue")
async def list_queue(page: ListPage, admin: CurrentAdministrator, house: Shared) -> Queue:
    """Messages with unfinished recipients, the oldest first."""
    request = queue_pb2.ListQueueRequest(cursor=parse_text_cursor(page.cursor), limit=page.limit)
    found = await house.queue.ListQueue(request, **options(admin))
    return Queue(
        items=[queued_of(entry) for entry in found.entries], next_cursor=text_cursor(found.next_cursor)
    )


@router.get("/queue/{id}", operation_id="getQueued")
async def get_queued(given: PathId, admin: CurrentAdministrator, house: Shared) -> QueuedMessage:
    """One message."""
    request = queue_pb2.GetQueuedRequest(id=_queue_id(given))
    return queued_of((await house.queue.GetQueued(request, **options(admin))).entry)


@router.post("/queue/{id}/retry", operation_id="retryQueued")
async def retry_queued(given: PathId, admin: CurrentAdministrator, house: Shared) -> QueueChange:
    """Try a message now."""
    request = queue_pb2.RetryQueuedRequest(id=_queue_id(given), operation_id=new_id().bytes)
    return QueueChange(deliveries=(await change(admin, house.queue.RetryQueued, request)).deliveries)


@router.delete("/queue/{id}", operation_id="cancelQueued")
async def cancel_queued(given: PathId, admin: CurrentAdministrator, house: Shared) -> QueueChange:
    """Do not send a message; its sender is not told."""
    request = queue_pb2.CancelQueuedRequest(id=_queue_id(given), operation_id=new_id().bytes)
    return QueueChange(deliveries=(await change(admin, house.queue.CancelQueued, request)).deliveries)


def _queue_id(text: str) -> bytes:
    try:
        return parse_queue_id(text).bytes
    except InvalidRequestError:
        raise MessageNotFoundError("not a queue id") from None
