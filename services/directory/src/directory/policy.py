"""Which services may call which method."""

from typing import Final

_SERVICE: Final = "/postroom.directory.v1.DirectoryService"

_LOGIN: Final = frozenset({"smtp-inbound", "mail-access", "ftp-gateway", "webmail-api"})
_CORE: Final = frozenset({"mailstore", "filestore"})
# `postroom` is the command line beside the services, which has the administrator's token.
_ADMIN: Final = frozenset({"webmail-api", "postroom"})

_METHODS: Final = {
    "Authenticate": _LOGIN,
    "AuthenticateAdmin": _ADMIN,
    "RenewCapability": _LOGIN | _ADMIN,
    "GetCapabilityKeys": _LOGIN | _CORE | {"smtp-outbound"},
    "ResolveRecipients": frozenset({"smtp-inbound", "webmail-api", "mailstore"}),
    "StreamResolveRecipients": frozenset({"smtp-inbound"}),
    "ListTenants": _ADMIN,
    "CreateDomain": _ADMIN,
    "ListDomains": _ADMIN,
    "DeleteDomain": _ADMIN,
    "CreateAccount": _ADMIN,
    "GetAccount": _ADMIN,
    "ListAccounts": _ADMIN,
    "SetPassword": _ADMIN,
    "DeleteAccount": _ADMIN,
    "CreateAlias": _ADMIN,
    "ListAliases": _ADMIN,
    "DeleteAlias": _ADMIN,
}

POLICY: Final = {f"{_SERVICE}/{method}": callers for method, callers in _METHODS.items()}
