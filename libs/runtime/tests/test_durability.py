from pydantic import SecretStr
from structlog.testing import capture_logs

from postroom_contracts.errors import UnavailableError
from postroom_runtime.durability import tell_protection
from postroom_runtime.settings import CoreSettings


def _settings(*, accept: bool = False) -> CoreSettings:
    return CoreSettings(database_url=SecretStr("postgresql://x"), accept_no_standby=accept)


async def _protected() -> bool:
    return True


async def _unprotected() -> bool:
    return False


async def _away() -> bool:
    raise UnavailableError("Postgres is away")


async def test_a_database_without_a_standby_is_told_once() -> None:
    with capture_logs() as logs:
        await tell_protection(_settings(), _unprotected)
    assert [(line["event"], line["log_level"]) for line in logs] == [("no_synchronous_standby", "warning")]


async def test_nothing_is_said_where_all_is_well_or_meant_so() -> None:
    with capture_logs() as logs:
        await tell_protection(_settings(), _protected)
        await tell_protection(_settings(accept=True), _unprotected)
    assert logs == []


async def test_nobody_is_kept_from_starting_by_the_question() -> None:
    with capture_logs() as logs:
        await tell_protection(_settings(), _away)
    assert [line["event"] for line in logs] == ["standby_unknown"]
