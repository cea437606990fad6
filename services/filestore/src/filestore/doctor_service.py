"""The DoctorService of the file store."""

from typing import Any, Final

import grpc

from filestore.examining import FilesExamination
from postroom.doctor.v1 import doctor_pb2, doctor_pb2_grpc
from postroom_contracts.capability import CapabilityVerifier, Scope
from postroom_runtime.grpc_server import capability_token
from postroom_storage.database import Database
from postroom_storage.examination import Examination, ExaminationLimits, Step, examine_schema
from postroom_storage.migrations import Migrations
from postroom_storage.objects import ObjectStore

_Context = grpc.aio.ServicerContext[Any, Any]
_ADMINISTERING: Final = frozenset({Scope.ADMIN})


class DoctorService(doctor_pb2_grpc.DoctorServiceServicer):
    """Looks at objects and trees, and changes nothing."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        migrations: Migrations,
        verifier: CapabilityVerifier,
        limits: ExaminationLimits | None = None,
    ) -> None:
        limits = limits or ExaminationLimits()
        files = FilesExamination(database, objects, limits)

        async def schema(_: str) -> Step:
            return await examine_schema(database, migrations)

        stages = {"schema": schema, "objects": files.objects, "trees": files.trees}
        self._verifier, self._examination = verifier, Examination(stages, limits)

    async def Examine(
        self, request: doctor_pb2.ExamineRequest, context: _Context
    ) -> doctor_pb2.ExamineResponse:
        """A part of the store."""
        await self._verifier.verify(capability_token(), scopes=_ADMINISTERING)
        return await self._examination.examine(request.cursor)
