"""Which service may call which method of the file store."""

from collections.abc import Mapping
from typing import Final

_DOCTOR: Final = "/postroom.doctor.v1.DoctorService/"
_FILES: Final = "/postroom.filestore.v1.FileService/"
_EDGE: Final = frozenset({"ftp-gateway", "webmail-api"})

POLICY: Final[Mapping[str, frozenset[str]]] = {
    **{
        _FILES + name: _EDGE
        for name in (
            "GetNode",
            "ListNodes",
            "CreateDirectory",
            "DeleteNode",
            "MoveNode",
            "SetModified",
            "BeginUpload",
            "PresignParts",
            "PublishUpload",
            "AbortUpload",
            "OpenFile",
        )
    },
    _DOCTOR + "Examine": frozenset({"webmail-api"}),
}
