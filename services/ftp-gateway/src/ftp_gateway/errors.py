"""What ends a transfer before its time."""

from postroom_wire.ftp import Reply


class TransferError(Exception):
    """The transfer cannot go on; `reply` is what the client is told."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply
