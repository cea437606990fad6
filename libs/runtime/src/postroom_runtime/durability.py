"""What a core service says of a database that may lose in a failover what it has confirmed."""

from collections.abc import Awaitable, Callable

from postroom_contracts.errors import PostroomError
from postroom_runtime.logs import log
from postroom_runtime.settings import CoreSettings


async def tell_protection(settings: CoreSettings, is_protected: Callable[[], Awaitable[bool]]) -> None:
    """One warning when no synchronous standby has what Postgres confirms; never a reason not to serve."""
    if settings.accept_no_standby:
        return
    try:
        protected = await is_protected()
    except PostroomError as error:
        log.info("standby_unknown", error=error.name)
        return
    if not protected:
        log.warning(
            "no_synchronous_standby",
            consequence="a failover of Postgres may lose mail and files that were acknowledged",
            remedy="set synchronous_standby_names, or POSTROOM_ACCEPT_NO_STANDBY=true if that is meant so",
        )
