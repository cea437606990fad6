"""What a POP3 engine's shell does, for tests without a socket."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from postroom_wire.pop3 import (
    Close,
    ContentRefusal,
    Login,
    LoginRefusal,
    Maildrop,
    Message,
    NeedData,
    Retrieve,
    SendData,
    ServerConfig,
    ServerSession,
    StartTls,
    Update,
)
from postroom_wire.sasl import Credentials

MAIL: Final = {
    1: b"Subject: one\r\n\r\n.first\r\nsecond\r\n..\r\nthird\r\n",
    2: b"Subject: two\r\n\r\n" + b"x" * 20 + b"\r\n",
    3: b"Subject: gone\r\n\r\nx\r\n",
}

IDS: Final = {1: "whqtswO00WBw418f9t5JxYwZ", 2: "QhdPYR:00WBw1Ph7x7", 3: "x"}


@dataclass
class Shell:
    """Does what a real shell does, with one account and three messages of which the third cannot be read."""

    session: ServerSession
    said: bytes = b""
    events: list[object] = field(default_factory=list[object])
    update_works: bool = True
    removed: tuple[int, ...] = ()

    def receive(self, data: bytes) -> None:
        """Octets of the client, and all that follows from them."""
        self.session.receive_data(data)
        self.run()

    def run(self) -> None:
        """All events up to where the engine waits."""
        while True:
            event = self.session.next_event()
            self.events.append(event)
            self.handle(event)
            if isinstance(event, NeedData | Close):
                break
        self.said += self.session.data_to_send()

    def handle(self, event: object) -> None:
        """What an event asks for."""
        match event:
            case Login(attempt):
                assert isinstance(attempt, Credentials)
                self._log_in(attempt.authentication_id, attempt.password)
            case StartTls():
                self.said += self.session.data_to_send() + b"<TLS>"
                self.session.receive_data(b"QUIT\r\n")
                self.session.tls_started()
            case Retrieve(number, _):
                self._send(number)
            case Update(numbers):
                self.removed = numbers
                if self.update_works:
                    self.session.updated()
                else:
                    self.session.update_failed()
            case SendData():
                self.said += self.session.data_to_send()
            case _:
                pass

    def _log_in(self, user: str, password: str) -> None:
        if (user, password) == ("mrose", "secret word"):
            messages = [Message(len(MAIL[number]), IDS[number]) for number in MAIL]
            self.session.accept_login(Maildrop(messages))
        else:
            busy = user == "busy"
            self.session.refuse_login(LoginRefusal.IN_USE if busy else LoginRefusal.CREDENTIALS)

    def _send(self, number: int) -> None:
        if number == 3:
            self.session.refuse_content(ContentRefusal.TEMPORARY)
            return
        self.session.begin_content()
        for octet in MAIL[number]:
            if not self.session.send_content(bytes((octet,))):
                break
        self.session.end_content()


def side(transcript: str, who: str) -> bytes:
    """The octets that one side sends; <TLS> stands for the handshake."""
    found = (line.strip() for line in transcript.strip().splitlines())
    said = b"".join(f"{line[3:]}\r\n".encode() for line in found if line.startswith(who))
    return said.replace(b"<TLS>\r\n", b"<TLS>")


def converse(chunks: Iterable[bytes], *, plaintext: bool = True) -> Shell:
    """A shell that has heard these chunks."""
    shell = Shell(ServerSession(ServerConfig(plaintext_login=plaintext)))
    shell.run()
    for chunk in chunks:
        shell.receive(chunk)
    return shell
