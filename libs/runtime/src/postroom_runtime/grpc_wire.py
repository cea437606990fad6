"""What both ends of a call between services agree on: metadata and channel options."""

import os
from typing import Final

# The core library writes lines of its own to standard error, which is for ours. It looks at this when it is
# imported, so whoever starts a service sets it too.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

SERVICE_METADATA: Final = "postroom-service"
"""Who calls; believed on unix sockets only."""

TRACE_METADATA: Final = "traceparent"

CAPABILITY_METADATA: Final = "postroom-capability"
"""The capability of the user on whose behalf a call is made."""

HOST_METADATA: Final = "postroom-host"
"""The account whose mailboxes a call is about, where that is not the user's own."""

MAX_MESSAGE: Final = 8 << 20

_BOTH: Final[tuple[tuple[str, int | str], ...]] = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_metadata_size", 16384),
    # Measuring the connection's delay and width takes a tenth of a call's cost. It is within one cluster or
    # one machine: this window is wide enough, and bounds what a slow reader of a stream lets pile up.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1 << 20),
    ("grpc.http2.max_frame_size", 1 << 18),
)

SERVER_OPTIONS: Final = (
    *_BOTH,
    ("grpc.so_reuseport", 0),  # a port in use is an error, not a second listener
    ("grpc.http2.max_ping_strikes", 0),  # our clients ping often, and a stream may be idle for long
    ("grpc.keepalive_time_ms", 20_000),  # a client that vanished without a word holds nothing for long
    ("grpc.keepalive_timeout_ms", 10_000),
    # Clients look for new replicas when a connection ends; streams that run are not cut.
    ("grpc.max_connection_age_ms", 300_000),
)

_SERVICE_CONFIG: Final = """{
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{"name": [{}], "retryPolicy": {
        "maxAttempts": 3, "initialBackoff": "0.05s", "maxBackoff": "0.5s", "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]}}]
}"""

# A frozen replica is found within 5 s by pings while a call runs, a new or restarted one by the short
# back-off. An UNAVAILABLE call is asked again elsewhere: every mutation has an id, so twice does it once.
CLIENT_OPTIONS: Final = (
    *_BOTH,
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2000),  # also the time that one attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    # While another ping is unanswered no keepalive ping is sent, and its own deadline is a minute by default.
    ("grpc.http2.ping_timeout_ms", 2500),
    ("grpc.keepalive_time_ms", 1000),
    ("grpc.keepalive_timeout_ms", 2500),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
    (
        "grpc.service_config",
        _SERVICE_CONFIG,
    ),
)
