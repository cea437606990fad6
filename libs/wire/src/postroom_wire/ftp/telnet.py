"""Takes the Telnet commands out of the control connection: RFC 959 s4.1.3, RFC 854."""

from enum import Enum, auto
from typing import Final, final

_IAC: Final = 0xFF
_WITH_OPTION: Final = frozenset({0xFB, 0xFC, 0xFD, 0xFE})  # WILL, WONT, DO, DONT
_SB: Final = 0xFA
_SE: Final = 0xF0
_FIRST_COMMAND: Final = 0xF0


class _State(Enum):
    DATA = auto()
    IAC = auto()
    OPTION = auto()
    SUBNEGOTIATION = auto()
    SUBNEGOTIATION_IAC = auto()


@final
class TelnetFilter:
    """Octets in, the data among them out, at any chunking.

    IP, DM and all other commands are dropped: what they announce is the line behind them (ABOR, STAT).
    Negotiations get no answer, since RFC 3659 s2.2 forbids them here. IAC IAC is the octet 255. An IAC
    before what is no command loses itself only: of the `IAC IP IAC DM ABOR` that clients send with urgent
    data, one octet travels out of band and may be missing.
    """

    def __init__(self) -> None:
        self._state = _State.DATA

    def data(self, octets: bytes) -> bytes:
        """The data octets in the next chunk."""
        if self._state is _State.DATA and _IAC not in octets:
            return octets
        kept = bytearray()
        for octet in octets:
            if self._keeps(octet):
                kept.append(octet)
        return bytes(kept)

    def _keeps(self, octet: int) -> bool:
        match self._state:
            case _State.DATA if octet == _IAC:
                self._state = _State.IAC
                return False
            case _State.DATA:
                return True
            case _State.IAC:
                return self._after_iac(octet)
            case _State.OPTION:
                self._state = _State.DATA
            case _State.SUBNEGOTIATION:
                if octet == _IAC:
                    self._state = _State.SUBNEGOTIATION_IAC
            case _State.SUBNEGOTIATION_IAC:
                self._state = _State.DATA if octet == _SE else _State.SUBNEGOTIATION
        return False

    def _after_iac(self, octet: int) -> bool:
        if octet in _WITH_OPTION:
            self._state = _State.OPTION
        elif octet == _SB:
            self._state = _State.SUBNEGOTIATION
        else:
            self._state = _State.DATA
        return octet == _IAC or octet < _FIRST_COMMAND
