"""The DoctorService of the mail store."""

from collections.abc import Callable
from typing import Any, Final

import grpc

from mailstore.examining.mailboxes import MailboxesExamination
from mailstore.examining.octets import OctetsExamination
from mailstore.examining.queue import QueueExamination
from postroom.doctor.v1 import doctor_pb2, doctor_pb2_grpc
from postroom_contracts.capability import CapabilityVerifier, Scope
from postroom_runtime.grpc_server import capability_token
from postroom_storage.database import Database
from postroom_storage.examination import (
    Examination,
    ExaminationLimits,
    Step,
    examine_bus,
    examine_schema,
)
from postroom_storage.migrations import Migrations
from postroom_storage.objects import ObjectStore

_Context = grpc.aio.ServicerContext[Any, Any]
_ADMINISTERING: Final = frozenset({Scope.ADMIN})


class DoctorService(doctor_pb2_grpc.DoctorServiceServicer):
    """Looks at octets, mailboxes and queue, and changes nothing."""

    def __init__(  # what it is made of
        self,
        database: Database,
        objects: ObjectStore,
        migrations: Migrations,
        verifier: CapabilityVerifier,
        bus_connected: Callable[[], bool],
        limits: ExaminationLimits | None = None,
    ) -> None:
        limits = limits or ExaminationLimits()
        octets = OctetsExamination(database, objects, limits)
        mailboxes = MailboxesExamination(database, limits)
        queue = QueueExamination(database, limits)

        async def schema(_: str) -> Step:
            return await examine_schema(database, migrations)

        async def bus(_: str) -> Step:
            return examine_bus(bus_connected())

        stages = {
            "schema": schema,
            "bus": bus,
            "packs": octets.packs,
            "objects": octets.objects,
            "blobs": octets.blobs,
            "messages": mailboxes.messages,
            "rows": mailboxes.rows,
            "expunged": mailboxes.expunged,
            "mailboxes": mailboxes.mailboxes,
            "accounts": mailboxes.accounts,
            "deliveries": queue.deliveries,
            "bounces": queue.bounces,
        }
        self._verifier, self._examination = verifier, Examination(stages, limits)

    async def Examine(
        self, request: doctor_pb2.ExamineRequest, context: _Context
    ) -> doctor_pb2.ExamineResponse:
        """A part of the store."""
        await self._verifier.verify(capability_token(), scopes=_ADMINISTERING)
        return await self._examination.examine(request.cursor)
