"""What a command says when it cannot do its work."""


class CommandError(Exception):
    """One line for a person. `status` is the command's: 1 refused or failed, 2 usage or configuration."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status
