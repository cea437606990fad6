"""The two protocol errors: ours, which is a bug, and theirs, which becomes a reply."""

from postroom_wire.ftp.replies import Reply


class LocalProtocolError(Exception):
    """The caller broke the engine's rules: a bug of ours, never the peer's doing."""


class RemoteProtocolError(Exception):
    """The peer sent what cannot be accepted; `reply` is the answer it gets."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply
