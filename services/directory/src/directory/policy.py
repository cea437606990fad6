"""Which services may call which method."""

from typing import Final

_SERVICE: Final = "/postroom.directory.v1.DirectoryService"

_LOGIN: Final = frozenset({"smtp-inbound", "mail-access", "ftp-gateway", "webmail-api"})
_CORE: Final = frozenset({"mailstore", "filestore"})
# `postroom` is the command line beside the services, which has the administrator's token.
_ADMIN: Final = frozenset({"webmail-api", "postroom"})
# What makes that what files declare, and tells what is otherwise (`declare`, `drift`).
_SETUP: Final = frozenset({"setup"})

_METHODS: Final = {
    "Authenticate": _LOGIN,
    "AuthenticateAdmin": _ADMIN | _SETUP,
    "RenewCapability": _LOGIN | _ADMIN,
    "GetCapabilityKeys": _LOGIN | _CORE | {"smtp-outbound"},
    "ResolveRecipients": frozenset({"smtp-inbound", "webmail-api", "mailstore"}),
    "StreamResolveRecipients": frozenset({"smtp-inbound"}),
    "ListTenants": _ADMIN,
    "CreateDomain": _ADMIN | _SETUP,
    "ListDomains": _ADMIN | _SETUP,
    "DeleteDomain": _ADMIN,
    "CreateAccount": _ADMIN | _SETUP,
    "GetAccount": _ADMIN | _SETUP,
    "ListAccounts": _ADMIN | _SETUP,
    "SetPassword": _ADMIN,
    "DeleteAccount": _ADMIN,
    "FindDeletedAccounts": _CORE,
    "FindAccounts": frozenset({"mail-access", "webmail-api"}),
    "SetQuota": _ADMIN,
    "SetOwnQuota": frozenset({"mail-access", "webmail-api"}),
    "CreateAlias": _ADMIN | _SETUP,
    "ListAliases": _ADMIN | _SETUP,
    "DeleteAlias": _ADMIN,
}

_LOGIN_METHODS: Final = ("BeginScram", "FinishScram", "AuthenticateBearer", "AuthenticateCertificate")
_CREDENTIAL_METHODS: Final = (
    "CreateAppPassword",
    "ListAppPasswords",
    "DeleteAppPassword",
    "EnableScram",
    "DisableScram",
    "GetScram",
)
# Those who speak SASL.
_SASL: Final = frozenset({"smtp-inbound", "mail-access"})

POLICY: Final = {
    **{f"{_SERVICE}/{method}": callers for method, callers in _METHODS.items()},
    **{f"/postroom.directory.v1.LoginService/{method}": _SASL for method in _LOGIN_METHODS},
    **{f"/postroom.directory.v1.CredentialService/{method}": _ADMIN for method in _CREDENTIAL_METHODS},
    "/postroom.doctor.v1.DoctorService/Examine": frozenset({"webmail-api"}),
}
