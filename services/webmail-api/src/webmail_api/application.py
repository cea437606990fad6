"""The ASGI application: all routes, one way to say no, and its own description."""

from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.types import Scope

from postroom_contracts.errors import PostroomError
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.logs import log
from postroom_runtime.networks import Networks
from webmail_api import (
    admin_routes,
    credential_routes,
    file_routes,
    mailbox_routes,
    message_routes,
    retention_routes,
    session_routes,
    upkeep_routes,
)
from webmail_api.boundary import Boundary
from webmail_api.forwarded import Forwarded
from webmail_api.house import House
from webmail_api.mail_models import NewMessage
from webmail_api.message_view import BASE
from webmail_api.problems import (
    CONTENT_TOO_LARGE,
    INVALID_REQUEST,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    REQUEST_TIMEOUT,
    Fault,
    Problem,
    ProblemError,
    kind_of,
    respond,
)
from webmail_api.start_page import start_page

_MAX_FAULTS: Final = 20
_KINDS: Final = {
    kind.status: kind for kind in (NOT_FOUND, METHOD_NOT_ALLOWED, CONTENT_TOO_LARGE, REQUEST_TIMEOUT)
}
_SCHEMAS: Final = "#/components/schemas/{model}"

# Those of retention and credentials before those of accounts, whose addresses are paths.
_ROUTES: Final = (
    session_routes,
    mailbox_routes,
    message_routes,
    file_routes,
    retention_routes,
    credential_routes,
    admin_routes,
    upkeep_routes,
)


def application(house: House, lifecycle: Lifecycle) -> FastAPI:
    """The application over its parts."""
    app = FastAPI(
        title="Postroom",
        version=version("postroom-webmail-api"),
        description="Mail, files and administration.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.house = house
    routes = APIRouter(prefix=BASE)
    for module in _ROUTES:
        routes.include_router(module.router)
    app.include_router(routes)

    async def start() -> HTMLResponse:
        return start_page(house.settings.http_port)

    app.add_api_route(
        "/",
        start,
        methods=["GET", "HEAD"],
        include_in_schema=False,
        operation_id="start",
        response_class=HTMLResponse,
    )
    for error, say in _SAYINGS.items():
        app.add_exception_handler(error, say)
    app.add_middleware(
        Boundary,
        lifecycle=lifecycle,
        max_requests=house.settings.max_requests,
        body_bound=lambda scope: _body_bound(scope, house),
        limits=house.limits,
    )
    app.add_middleware(
        Forwarded,
        gateways=Networks(house.settings.trusted_gateways),
        untrusted=house.settings.untrusted | house.settings.nodes,
    )
    app.openapi = lambda: _description(app)
    return app


def _body_bound(scope: Scope, house: House) -> int | None:
    """Files are as large as filestore takes; a message to send is bounded where its sender is known."""
    match scope["method"], scope["path"]:
        case "POST", path if path == f"{BASE}/messages":
            return None
        case "PUT", path if path.startswith(f"{BASE}/files/"):
            return None
        case _:
            return house.limits.body


async def _say_refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, PostroomError):
        raise error
    kind = kind_of(error)
    operation = getattr(request.scope.get("route"), "operation_id", None)
    level = log.warning if error.transient else log.info
    level("refused", operation=operation, error=error.name, cause=str(error))
    return respond(kind)


async def _say_problem(request: Request, error: Exception) -> Response:
    del request
    if not isinstance(error, ProblemError):
        raise error
    return respond(error.kind, addresses=error.addresses, headers=error.headers)


async def _say_invalid(request: Request, error: Exception) -> Response:
    del request
    if not isinstance(error, RequestValidationError):
        raise error
    faults = [
        Fault(pointer="/".join(map(str, fault["loc"]))[:200], message=str(fault["msg"])[:200])
        for fault in error.errors()[:_MAX_FAULTS]
    ]
    return respond(INVALID_REQUEST, errors=faults)


async def _say_http(request: Request, error: Exception) -> Response:
    del request
    if not isinstance(error, HTTPException):
        raise error
    return respond(_KINDS.get(HTTPStatus(error.status_code), INVALID_REQUEST), headers=error.headers)


_SAYINGS: Final = {
    PostroomError: _say_refused,
    ProblemError: _say_problem,
    RequestValidationError: _say_invalid,
    HTTPException: _say_http,
}


def _description(app: FastAPI) -> dict[str, Any]:
    """OpenAPI, with the documents that no signature names."""
    if app.openapi_schema is None:
        described = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        _, schemas = models_json_schema(
            [(NewMessage, "validation"), (Problem, "serialization")], ref_template=_SCHEMAS
        )
        components = described.setdefault("components", {}).setdefault("schemas", {})
        for name, schema in schemas["$defs"].items():
            components.setdefault(name, schema)
        app.openapi_schema = described
    return app.openapi_schema
