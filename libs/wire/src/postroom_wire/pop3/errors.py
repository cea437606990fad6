"""The two kinds of protocol error: ours is a bug, the peer's becomes a reply."""


class LocalProtocolError(Exception):
    """Our own side broke the protocol: a bug of the shell."""


class CommandError(Exception):
    """The peer sent no command that we know; `reply` is what it is told."""

    def __init__(self, reply: bytes) -> None:
        super().__init__(reply)
        self.reply = reply
