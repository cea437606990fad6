"""The two protocol errors: ours, which is a bug, and theirs, which becomes a reply or a retry."""

from postroom_wire.smtp.replies import Reply


class LocalProtocolError(Exception):
    """The caller broke the engine's rules: a bug of ours, never the peer's doing."""


class RemoteProtocolError(Exception):
    """The peer of a client broke the protocol: the connection is of no further use.

    `reply` is the reply that was wrong, None when what came was none at all.
    """

    def __init__(self, message: str, reply: Reply | None = None) -> None:
        super().__init__(message)
        self.reply = reply


class CommandError(Exception):
    """A command is refused with `reply` and the session goes on; it never leaves the server engine."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply
