"""What both ends of a call between services agree on: metadata and channel options."""

import os
from typing import Final

# The core library writes its own lines to standard error; ours are JSON. It reads this at its first channel
# or server.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

SERVICE_METADATA: Final = "postroom-service"
"""Who calls; believed on unix sockets only."""

TRACE_METADATA: Final = "traceparent"

CAPABILITY_METADATA: Final = "postroom-capability"
"""The capability of the user on whose behalf a call is made."""

MAX_MESSAGE: Final = 8 << 20

_BOTH: Final[tuple[tuple[str, int | str], ...]] = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_metadata_size", 16384),
)

SERVER_OPTIONS: Final = (
    *_BOTH,
    ("grpc.so_reuseport", 0),  # a port in use is an error, not a second listener
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
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
    ("grpc.keepalive_time_ms", 2500),
    ("grpc.keepalive_timeout_ms", 2000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
    (
        "grpc.service_config",
        _SERVICE_CONFIG,
    ),
)
