"""One message on its way through a client session: its commands, and what becomes of each recipient."""

from enum import Enum

from postroom_wire.smtp.addresses import format_path
from postroom_wire.smtp.capabilities import Capabilities
from postroom_wire.smtp.envelope import Body, Envelope
from postroom_wire.smtp.errors import RemoteProtocolError
from postroom_wire.smtp.events import RecipientResult, Stage
from postroom_wire.smtp.replies import Reply


class Step(Enum):
    """A command of the transaction whose reply is awaited."""

    RSET = "RSET"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"


class Transaction:
    """Keeps a result for each recipient; replies come in the order of the commands (RFC 2920 s3.1)."""

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self._results: list[RecipientResult | None] = [None] * len(envelope.recipients)
        self._asked = 0
        self._taken = 0
        self._mail_reply: Reply | None = None

    def commands(self, capabilities: Capabilities, *, authenticated: bool) -> list[tuple[Step, bytes]]:
        """MAIL, each RCPT and DATA as they are written; valid addresses hold no line ends."""
        envelope = self.envelope
        mail = ["MAIL", f"FROM:{format_path(envelope.reverse_path)}"]
        if capabilities.size is not None and envelope.size is not None:
            mail.append(f"SIZE={envelope.size}")
        # DEVIATION: RFC 6152 s3: without 8BITMIME eight-bit content is sent as it is rather than converted,
        # which would break its signatures; servers that mind refuse it.
        if capabilities.eight_bit_mime and envelope.body is Body.EIGHT_BIT_MIME:
            mail.append("BODY=8BITMIME")
        if envelope.needs_smtputf8:
            mail.append("SMTPUTF8")
        if authenticated:
            mail.append("AUTH=<>")  # RFC 4954 s5: we vouch for nobody's identity
        return [
            (Step.MAIL, _line(" ".join(mail))),
            *((Step.RCPT, _line(f"RCPT TO:{format_path(path)}")) for path in envelope.recipients),
            (Step.DATA, _line("DATA")),
        ]

    @property
    def anyone_taken(self) -> bool:
        """Whether the server took MAIL and at least one recipient."""
        return self._taken > 0 and self._mail_reply is None

    @property
    def mail_refused(self) -> bool:
        """Whether the server refused MAIL, and so the whole message."""
        return self._mail_reply is not None

    def on_mail(self, reply: Reply) -> None:
        """The reply to MAIL."""
        if not _completed(reply):
            self._mail_reply = reply
            self.settle(Stage.MAIL, reply)

    def on_rcpt(self, reply: Reply) -> None:
        """The reply to the next RCPT."""
        at, self._asked = self._asked, self._asked + 1
        if _completed(reply):
            self._taken += 1
        elif self._results[at] is None:
            self._results[at] = RecipientResult(self.envelope.recipients[at], Stage.RCPT, reply)

    def on_data(self, reply: Reply) -> bool:
        """The reply to DATA: whether the server now waits for content. Raises `RemoteProtocolError`."""
        if reply.code == 354:
            if self.mail_refused and self._taken:
                # An empty message would be delivered to them.
                raise RemoteProtocolError("MAIL was refused and RCPT and DATA were taken", reply)
            return True
        if reply.positive:
            raise RemoteProtocolError("wrong reply to DATA", reply)
        self.settle(Stage.DATA, reply)
        return False

    def on_end(self, reply: Reply) -> None:
        """The reply to the content's end, or one that came before it."""
        _completed(reply)
        self.settle(Stage.CONTENT, reply)

    def settle(self, stage: Stage, reply: Reply) -> None:
        """Give all recipients without a result this one."""
        for at, recipient in enumerate(self.envelope.recipients):
            if self._results[at] is None:
                self._results[at] = RecipientResult(recipient, stage, reply)

    @property
    def results(self) -> tuple[RecipientResult, ...]:
        """The results so far, in the envelope's order."""
        return tuple(result for result in self._results if result is not None)


def _completed(reply: Reply) -> bool:
    if 300 <= reply.code < 400:
        raise RemoteProtocolError("an intermediate reply where none fits", reply)
    return reply.positive


def _line(command: str) -> bytes:
    return f"{command}\r\n".encode()
