"""Whose request a gateway passes on: its X-Forwarded-For and X-Forwarded-Proto, if it is one of ours."""

from ipaddress import ip_address
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from postroom_runtime.networks import Networks

RELAYED: Final = "postroom_relayed"
"""In the state of a request whose client's address is somebody's word."""


SHARED: Final = "postroom_shared"
"""In the state of a request whose client's address stands for many clients."""


def is_shared(scope: Scope) -> bool:
    """Whether nobody can be counted or blocked by the client's address."""
    return bool(scope.get("state", {}).get(SHARED))


def is_relayed(scope: Scope) -> bool:
    """Whether the client's address is a balancer's or gateway's word, on which nobody is this machine."""
    return bool(scope.get("state", {}).get(RELAYED))


class Forwarded:
    """Puts the client and the scheme that a trusted gateway tells into the scope.

    A client can send these fields too, so what others than gateways send is not looked at, nor is what comes
    through a balancer with a PROXY header.
    """

    def __init__(self, app: ASGIApp, *, gateways: Networks, untrusted: Networks) -> None:
        self._app, self._gateways, self._untrusted = app, gateways, untrusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102  # ASGI
        if scope["type"] == "http":
            if not is_relayed(scope):
                self._apply(scope)
            if (client := scope.get("client")) is not None and client[0] in self._untrusted:
                scope.setdefault("state", {})[SHARED] = True
        await self._app(scope, receive, send)

    def _apply(self, scope: Scope) -> None:
        client: tuple[str, int] | None = scope.get("client")
        if client is None:
            return
        headers = Headers(scope=scope)
        told = "x-forwarded-for" in headers or "x-forwarded-proto" in headers
        if client[0] in self._untrusted or (told and client[0] in self._gateways):
            scope.setdefault("state", {})[RELAYED] = True
        if client[0] not in self._gateways:
            return
        if (host := self._client_of(headers.getlist("x-forwarded-for"))) is not None:
            scope["client"] = (host, 0)
        schemes = headers.getlist("x-forwarded-proto")
        if schemes and schemes[-1].lower() in {"http", "https"}:
            scope["scheme"] = schemes[-1].lower()

    def _client_of(self, fields: list[str]) -> str | None:
        """The last address that is no gateway's: what stands before it, the client may have written."""
        for told in reversed(",".join(fields).split(",")):
            if (host := _address(told.strip())) is None:
                return None
            if host not in self._gateways:
                return host
        return None


def _address(text: str) -> str | None:
    """An IP address, also in brackets or with a port as some gateways write it."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None) or address
    return None if mapped.is_unspecified or mapped.is_multicast else str(mapped)
