"""The two kinds of error: ours is a bug, the peer's ends the exchange."""


class LocalProtocolError(Exception):
    """Our own side broke the order: a bug of the shell."""


class SaslError(Exception):
    """The exchange ends without a login. `malformed`: the message breaks the grammar; else it is refused."""

    def __init__(self, reason: str, *, malformed: bool = True) -> None:
        super().__init__(reason)
        self.malformed = malformed
