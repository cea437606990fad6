"""POP3 as transcripts, cut at every octet (RFC 1939)."""

from typing import Final

import pytest

from postroom_testing.pop3_shell import converse, side

LOGIN: Final = """
        C: USER mrose
        S: +OK Send the password
        C: PASS secret word
        S: +OK 3 messages (101 octets)"""

TRANSCRIPTS: Final = {
    "RFC 1939 s5: LIST and STAT": f"""
        S: +OK POP3 server ready{LOGIN}
        C: STAT
        S: +OK 3 101
        C: LIST
        S: +OK 3 messages (101 octets)
        S: 1 43
        S: 2 38
        S: 3 20
        S: .
        C: LIST 2
        S: +OK 2 38
        C: LIST 4
        S: -ERR No such message
        C: LIST 0
        S: -ERR No such message
        C: QUIT
        S: +OK Goodbye""",
    "RFC 1939 s5: RETR, dot-stuffed": f"""
        S: +OK POP3 server ready{LOGIN}
        C: RETR 1
        S: +OK 43 octets
        S: Subject: one
        S:
        S: ..first
        S: second
        S: ...
        S: third
        S: .
        C: RETR 3
        S: -ERR [SYS/TEMP] Cannot read the message now, try again later
        C: RETR 4
        S: -ERR No such message""",
    "RFC 1939 s7: TOP": f"""
        S: +OK POP3 server ready{LOGIN}
        C: TOP 1 0
        S: +OK Top of message follows
        S: Subject: one
        S:
        S: .
        C: TOP 1 2
        S: +OK Top of message follows
        S: Subject: one
        S:
        S: ..first
        S: second
        S: .
        C: TOP 2 100
        S: +OK Top of message follows
        S: Subject: two
        S:
        S: xxxxxxxxxxxxxxxxxxxx
        S: .
        C: TOP 100 3
        S: -ERR No such message
        C: TOP 1
        S: -ERR Wrong arguments
        C: TOP 1 -1
        S: -ERR Wrong arguments""",
    "RFC 1939 s7: UIDL": f"""
        S: +OK POP3 server ready{LOGIN}
        C: UIDL
        S: +OK
        S: 1 whqtswO00WBw418f9t5JxYwZ
        S: 2 QhdPYR:00WBw1Ph7x7
        S: 3 x
        S: .
        C: UIDL 2
        S: +OK 2 QhdPYR:00WBw1Ph7x7
        C: UIDL 4
        S: -ERR No such message""",
    "RFC 1939 s5: DELE hides, RSET shows again": f"""
        S: +OK POP3 server ready{LOGIN}
        C: dele 1
        S: +OK Message 1 deleted
        C: DELE 1
        S: -ERR No such message
        C: RETR 1
        S: -ERR No such message
        C: TOP 1 1
        S: -ERR No such message
        C: LIST
        S: +OK 2 messages (58 octets)
        S: 2 38
        S: 3 20
        S: .
        C: UIDL
        S: +OK
        S: 2 QhdPYR:00WBw1Ph7x7
        S: 3 x
        S: .
        C: NOOP
        S: +OK
        C: RSET
        S: +OK
        C: STAT
        S: +OK 3 101
        C: DELE 2
        S: +OK Message 2 deleted
        C: QUIT
        S: +OK Goodbye""",
    "RFC 1939 s4: PASS comes after USER": """
        S: +OK POP3 server ready
        C: PASS secret word
        S: -ERR Command not allowed now
        C: USER mrose
        S: +OK Send the password
        C: PASS wrong
        S: -ERR [AUTH] Wrong user name or password
        C: PASS secret word
        S: -ERR Command not allowed now
        C: USER busy
        S: +OK Send the password
        C: PASS secret word
        S: -ERR [IN-USE] The maildrop is in use by another session
        C: QUIT
        S: +OK Goodbye""",
    "RFC 1939 s3: commands that are none, or not now": f"""
        S: +OK POP3 server ready
        C:
        S: -ERR Unknown command
        C: STAT
        S: -ERR Command not allowed now
        C: APOP mrose c4c9334bac560ecc979e58001b3e22fb
        S: -ERR Unknown command
        C: STATS
        S: -ERR Unknown command
        C: CAPA x
        S: -ERR Wrong arguments
        C: USER
        S: -ERR Wrong arguments
        C: USER two words
        S: -ERR Wrong arguments{LOGIN}
        C: USER mrose
        S: -ERR Command not allowed now
        C: STLS
        S: -ERR Command not allowed now
        C: RETR
        S: -ERR Wrong arguments
        C: RETR 1 2
        S: -ERR Wrong arguments
        C: RETR +1
        S: -ERR Wrong arguments
        C: RETR 99999999999999999999
        S: -ERR Wrong arguments""",
    "RFC 2449 s5: CAPA in both states": f"""
        S: +OK POP3 server ready
        C: CAPA
        S: +OK Capability list follows
        S: TOP
        S: UIDL
        S: RESP-CODES
        S: AUTH-RESP-CODE
        S: PIPELINING
        S: EXPIRE NEVER
        S: UTF8 USER
        S: LANG
        S: USER
        S: SASL PLAIN
        S: STLS
        S: IMPLEMENTATION Postroom
        S: .{LOGIN}
        C: CAPA
        S: +OK Capability list follows
        S: TOP
        S: UIDL
        S: RESP-CODES
        S: AUTH-RESP-CODE
        S: PIPELINING
        S: EXPIRE NEVER
        S: UTF8 USER
        S: LANG
        S: USER
        S: SASL PLAIN
        S: IMPLEMENTATION Postroom
        S: .""",
}


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_transcript_is_the_same_wherever_the_network_cuts(name: str) -> None:
    client, server = side(TRANSCRIPTS[name], "C:"), side(TRANSCRIPTS[name], "S:")
    assert converse([client]).said == server
    assert converse([bytes((octet,)) for octet in client]).said == server
    for cut in range(1, len(client)):
        assert converse([client[:cut], client[cut:]]).said == server
