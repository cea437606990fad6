"""The DoctorService of directory: whether everybody who is known can be reached and log in."""

from typing import Any, Final

import grpc

from postroom.doctor.v1 import doctor_pb2, doctor_pb2_grpc
from postroom_contracts.capability import CapabilityVerifier, Scope
from postroom_runtime.grpc_server import capability_token
from postroom_storage.database import Database
from postroom_storage.examination import (
    Examination,
    ExaminationLimits,
    Finding,
    Step,
    examine_schema,
    id_of_position,
)
from postroom_storage.migrations import Migrations

_Context = grpc.aio.ServicerContext[Any, Any]
_ADMINISTERING: Final = frozenset({Scope.ADMIN})

# What foreign keys cannot say.
_ACCOUNTS: Final = """
SELECT a.id, array_remove(ARRAY[
    CASE WHEN NOT EXISTS (SELECT FROM directory.address AS d WHERE d.account_id = a.id)
         THEN 'no address leads to it' END,
    CASE WHEN NOT EXISTS (SELECT FROM directory.credential AS c WHERE c.account_id = a.id)
         THEN 'it has no password' END
], NULL) AS wrong
FROM (SELECT id FROM directory.account WHERE id > $1 ORDER BY id LIMIT $2) AS a ORDER BY a.id
"""
_ALIASES: Final = """
SELECT a.id, array_remove(ARRAY[
    CASE WHEN NOT EXISTS (SELECT FROM directory.address AS d WHERE d.alias_id = a.id)
         THEN 'no address leads to it' END,
    CASE WHEN NOT EXISTS (SELECT FROM directory.alias_target AS t WHERE t.alias_id = a.id)
         THEN 'it leads nowhere' END
], NULL) AS wrong
FROM (SELECT id FROM directory.alias WHERE id > $1 ORDER BY id LIMIT $2) AS a ORDER BY a.id
"""


class DoctorService(doctor_pb2_grpc.DoctorServiceServicer):
    """Looks at accounts and aliases, and changes nothing."""

    def __init__(
        self,
        database: Database,
        migrations: Migrations,
        verifier: CapabilityVerifier,
        limits: ExaminationLimits | None = None,
    ) -> None:
        limits = limits or ExaminationLimits()

        async def schema(_: str) -> Step:
            return await examine_schema(database, migrations)

        async def page(statement: str, what: str, counted: str, at: str) -> Step:
            async with database.connection(seconds=limits.step_seconds) as connection:
                rows = await connection.fetch(statement, id_of_position(at), limits.rows)
            if not rows:
                return Step()
            findings = [
                Finding(
                    kind=Finding.KIND_ROW_MISSING,
                    subject=f"{what} {row['id']}",
                    detail="; ".join(row["wrong"]),
                )
                for row in rows
                if row["wrong"]
            ]
            return Step(str(rows[-1]["id"]), findings, {counted: len(rows)})

        async def accounts(at: str) -> Step:
            return await page(_ACCOUNTS, "account", "known accounts", at)

        async def aliases(at: str) -> Step:
            return await page(_ALIASES, "alias", "aliases", at)

        stages = {"schema": schema, "accounts": accounts, "aliases": aliases}
        self._verifier, self._examination = verifier, Examination(stages, limits)

    async def Examine(
        self, request: doctor_pb2.ExamineRequest, context: _Context
    ) -> doctor_pb2.ExamineResponse:
        """A part of what is known."""
        await self._verifier.verify(capability_token(), scopes=_ADMINISTERING)
        return await self._examination.examine(request.cursor)
