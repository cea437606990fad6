"""Which service may call which method of the mail store."""

from collections.abc import Mapping
from typing import Final

_DOCTOR: Final = "/postroom.doctor.v1.DoctorService/"
_ACCOUNT: Final = "/postroom.mailstore.v1.AccountService/"
_DELIVERY: Final = "/postroom.mailstore.v1.DeliveryService/"
_FINDING: Final = "/postroom.mailstore.v1.FindingService/"
_MAILBOX: Final = "/postroom.mailstore.v1.MailboxService/"
_QUEUE: Final = "/postroom.mailstore.v1.QueueService/"
_RETENTION: Final = "/postroom.mailstore.v1.RetentionService/"

_SENDERS: Final = frozenset({"smtp-inbound", "webmail-api"})
_READERS: Final = frozenset({"mail-access", "webmail-api"})
_RELAYS: Final = frozenset({"smtp-outbound"})
_ADMINISTRATORS: Final = frozenset({"webmail-api"})

POLICY: Final[Mapping[str, frozenset[str]]] = {
    **{
        _ACCOUNT + name: _READERS
        for name in (
            "GetUsage",
            "GetDeletedSizes",
            "GetAnnotations",
            "SetAnnotations",
            "ListShared",
            "GetRights",
            "SetRights",
            "GetSharedModseqs",
            "TransferMessages",
        )
    },
    **{
        _DELIVERY + name: _SENDERS
        for name in ("Accept", "Abort", "BeginUpload", "PresignUploadParts", "FindFull")
    },
    **{
        _MAILBOX + name: _READERS
        for name in (
            "ListMailboxes",
            "FindMailbox",
            "CreateMailbox",
            "DeleteMailbox",
            "RenameMailbox",
            "SetSubscription",
            "LoadMailbox",
            "GetChanges",
            "GetVanished",
            "GetModseqs",
            "ClaimRecent",
            "FetchFacts",
            "ReadMessages",
            "SearchText",
            "AppendMessage",
            "AppendMessages",
            "BeginAppendUpload",
            "PresignAppendParts",
            "StoreFlags",
            "CopyMessages",
            "MoveMessages",
            "ExpungeMessages",
        )
    },
    **{
        _QUEUE + name: _RELAYS
        for name in ("Claim", "Extend", "ReadContent", "Report", "Release", "ReportSite")
    },
    **{_QUEUE + name: _ADMINISTRATORS for name in ("ListQueue", "GetQueued", "RetryQueued", "CancelQueued")},
    _MAILBOX + "RenewUidValidity": _ADMINISTRATORS,
    **{_RETENTION + name: _ADMINISTRATORS for name in ("ListExpunged", "RestoreMessages")},
    **{_FINDING + name: _READERS for name in ("SortMessages", "ThreadMessages")},
    _DOCTOR + "Examine": _ADMINISTRATORS,
}
