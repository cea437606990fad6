"""What a listener makes of its clients' addresses: a bound for each, and a doubt whether they are theirs."""

from collections import Counter
from ipaddress import ip_network
from time import monotonic
from typing import Final

from postroom_runtime import metrics
from postroom_runtime.logs import log
from postroom_runtime.networks import Networks, customer_of
from postroom_runtime.peer import LOOPBACK

_PRIVATE: Final = Networks(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
    )
)
_NONE: Final = Networks()
CONNECTIONS: Final = metrics.counter(
    "tcp_connections_total", "Connections by what became of them.", ["listener", "outcome"]
)
WINDOW: Final = 200
"""Sessions that are looked at together."""
_FEW: Final = 3
_NEARLY_ALL: Final = 0.95
_WARN_SECONDS: Final = 3_600.0

_HIDDEN: Final = metrics.gauge(
    "tcp_client_addresses_hidden",
    "1 while nearly all sessions come from very few private addresses: a node's or a balancer's, it seems.",
    ["listener"],
)


class AddressBound:
    """How many connections each client has. Addresses that stand for many clients are not counted."""

    def __init__(self, bound: int, untrusted: Networks) -> None:
        self._bound = bound
        self._untrusted = untrusted
        self._taken: Counter[str] = Counter()

    def take(self, host: str) -> bool:
        """One more connection from there; False when there are as many as there may be."""
        if host in self._untrusted:
            return True
        client = customer_of(host)
        if self._taken[client] >= self._bound:
            return False
        self._taken[client] += 1
        return True

    def give(self, host: str) -> None:
        """A connection that `take` allowed is over."""
        if host in self._untrusted:
            return
        client = customer_of(host)
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]


class AddressCheck:
    """Notices when clients' addresses are lost on their way, which is the default of many balancers.

    Sender policies, limits and blocks by address would then hit everybody at once. It is a suspicion only: a
    listener that serves a few relays of one's own looks the same. Addresses that somebody has named as
    standing for many (`untrusted`) are not looked at, nor is loopback; those of the own node (`nodes`) are,
    since nobody has said that clients come by them.
    """

    def __init__(self, listener: str, untrusted: Networks, nodes: Networks = _NONE) -> None:
        self._listener = listener
        self._untrusted = untrusted
        self._nodes = nodes
        self._seen: Counter[str] = Counter()
        self._total = 0
        self._warn_at = 0.0
        self._hidden = _HIDDEN.labels(listener)

    def note(self, host: str) -> None:
        """A session has been; call for those in which the client said something, not for mere probes."""
        if host in self._untrusted or host in LOOPBACK:
            return
        self._total += 1
        if host in _PRIVATE or host in self._nodes:
            self._seen[host] += 1
        if self._total >= WINDOW:
            self._judge()

    def _judge(self) -> None:
        most = self._seen.most_common(_FEW)
        hidden = sum(count for _, count in most) >= _NEARLY_ALL * self._total
        self._hidden.set(hidden)
        if hidden and (now := monotonic()) >= self._warn_at:
            self._warn_at = now + _WARN_SECONDS
            log.warning(
                "client_addresses_hidden",
                listener=self._listener,
                addresses=[host for host, _ in most],
                nodes=[host for host, _ in most if host in self._nodes],
                sessions=self._total,
            )
        self._seen.clear()
        self._total = 0
