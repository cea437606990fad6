"""Conversations as RFC 959 has them, under every chunking; the file `slow` is on its way until an ABOR."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

Converse: TypeAlias = Callable[[str, Iterable[int]], tuple[bytes, bytes]]

_LOGIN = """
    C: USER ann
    S: 331 User name okay, need password
    C: PASS secret
    S: 230 User logged in, proceed
"""

TRANSCRIPTS = {
    "RFC 959 s5.4: a wrong password": """
        C: USER ann
        S: 331 User name okay, need password
        C: PASS wrong
        S: 530 Login incorrect
        C: PASS secret
        S: 503 Send USER first
        C: user ann
        S: 331 User name okay, need password
        C: pass secret
        S: 230 User logged in, proceed
        C: QUIT
        S: 221 Goodbye""",
    "RFC 959 s5.4: not logged in": """
        C: CWD /
        S: 530 Log in with USER and PASS first
        C: RNTO a
        S: 530 Log in with USER and PASS first
        C: PASS secret
        S: 503 Send USER first
        C: USER
        S: 501 An argument is needed
        C: SYST
        S: 215 UNIX Type: L8
        C: NOOP
        S: 200 OK""",
    "RFC 959 s7: the typical scenario": f"""
        {_LOGIN}
        C: RETR test.pl1
        S: 425 Send PASV, EPSV, PORT or EPRT first
        C: PORT 192,0,2,1,4,0
        S: 200 Data port accepted
        C: RETR test.pl1
        S: 150 File status okay; about to open data connection
        S: 226 Transfer complete
        C: TYPE I
        S: 200 Type set to I
        C: PASV
        S: 227 Entering Passive Mode (198,51,100,7,117,48)
        C: STOR udd/ann/image
        S: 150 File status okay; about to open data connection
        S: 226 Transfer complete
        C: QUIT
        S: 221 Goodbye""",
    "RFC 959 s4.1.3: a rename is two commands": f"""
        {_LOGIN}
        C: RNTO b
        S: 503 Send RNFR first
        C: RNFR a
        S: 350 Ready for RNTO
        C: RNTO
        S: 501 An argument is needed
        C: RNTO b
        S: 250 Requested file action okay, completed
        C: RNTO c
        S: 503 Send RNFR first
        C: RNFR missing
        S: 550 No such file or directory
        C: RNTO c
        S: 503 Send RNFR first
        C: RNFR a
        S: 350 Ready for RNTO
        C: PWD
        S: 257 "/" is the current directory
        C: RNTO b
        S: 503 Send RNFR first""",
    "RFC 959 s4.1.3: a failed rename starts over": f"""
        {_LOGIN}
        C: RNFR a
        S: 350 Ready for RNTO
        C: RNTO missing/b
        S: 553 File name not allowed
        C: RNTO b
        S: 503 Send RNFR first""",
    "RFC 959 s4.1.3: ABOR of a transfer in progress": f"""
        {_LOGIN}
        C: EPSV
        S: 229 Entering Extended Passive Mode (|||30000|)
        C: RETR slow
        S: 150 File status okay; about to open data connection
        C: NOOP
        S: 200 OK
        C: STAT
        S: 211-Postroom FTP status:
        S:  Connected from 192.0.2.1, no TLS
        S:  Logged in as ann
        S:  TYPE: A; STRU: F; MODE: S; data connections: clear
        S:  In progress: RETR
        S: 211 End of status
        C: PWD
        C: ABOR
        S: 426 Connection closed; transfer aborted
        S: 257 "/" is the current directory
        S: 226 Abort successful
        C: RETR a
        S: 425 Send PASV, EPSV, PORT or EPRT first""",
    "RFC 959 s4.1.3: ABOR of nothing, which closes the data port": f"""
        {_LOGIN}
        C: PASV
        S: 227 Entering Passive Mode (198,51,100,7,117,48)
        C: ABOR
        S: 226 Abort successful
        C: LIST
        S: 425 Send PASV, EPSV, PORT or EPRT first""",
    "RFC 959 s4.1.1: REIN": f"""
        {_LOGIN}
        C: CWD a
        S: 250 Directory changed
        C: TYPE I
        S: 200 Type set to I
        C: REIN
        S: 220 Ready for a new user
        C: PWD
        S: 530 Log in with USER and PASS first
        {_LOGIN}
        C: PWD
        S: 257 "/" is the current directory
        C: SIZE a
        S: 550 SIZE is not available in TYPE A; send TYPE I""",
    "RFC 959 s5.3: parameters": f"""
        {_LOGIN}
        C: TYPE A N
        S: 200 Type set to A
        C: type l 8
        S: 200 Type set to I
        C: TYPE A T
        S: 504 Command not implemented for that parameter
        C: TYPE E
        S: 504 Command not implemented for that parameter
        C: TYPE L 36
        S: 504 Command not implemented for that parameter
        C: TYPE X
        S: 501 Syntax error in the argument
        C: MODE S
        S: 200 Mode set to S
        C: MODE B
        S: 504 Command not implemented for that parameter
        C: STRU F
        S: 200 Structure set to F
        C: STRU R
        S: 504 Command not implemented for that parameter
        C: STRU ?
        S: 501 Syntax error in the argument
        C: ALLO 100 R 10
        S: 202 No storage allocation necessary
        C: ALLO much
        S: 501 Syntax error in the argument
        C: ACCT x
        S: 202 No account is needed
        C: SMNT /
        S: 502 Command not implemented
        C: STOU
        S: 502 Command not implemented
        C: FROB
        S: 500 Command not recognised
        C: PASV now
        S: 501 No argument is allowed
        C: HELP RETR
        S: 214 Syntax: RETR <SP> <pathname>
        C: HELP FROB
        S: 501 No help for that
        C: HELP
        S: 214-These commands are understood:
        S:  ABOR ACCT ALLO APPE AUTH CDUP CWD DELE
        S:  EPRT EPSV FEAT HELP LIST MDTM MKD MLSD
        S:  MLST MODE NLST NOOP OPTS PASS PASV PBSZ
        S:  PORT PROT PWD QUIT REIN REST RETR RMD
        S:  RNFR RNTO SIZE STAT STOR STRU SYST TYPE
        S:  USER
        S: 214 HELP <command> shows its syntax""",
    "RFC 959, directory commands and their experimental names": f"""
        {_LOGIN}
        C: MKD a"b
        S: 257 "/a""b" created
        C: XMKD a/../c/./d//
        S: 257 "/c/d" created
        C: CWD a"b
        S: 250 Directory changed
        C: XPWD
        S: 257 "/a""b" is the current directory
        C: CDUP
        S: 250 Directory changed
        C: XCUP
        S: 250 Directory changed
        C: CWD ../../../../etc
        S: 250 Directory changed
        C: PWD
        S: 257 "/etc" is the current directory
        C: CWD missing
        S: 550 No such file or directory
        C: XCWD /
        S: 250 Directory changed
        C: PWD
        S: 257 "/" is the current directory
        C: XRMD d
        S: 250 Requested file action okay, completed
        C: DELE f
        S: 250 Requested file action okay, completed""",
    "RFC 959 s4.1.3: STAT of a path": f"""
        {_LOGIN}
        C: STAT -la a
        S: 213-Status of /a:
        S:  -rw-r--r--
        S: 213 End of status""",
}


@pytest.mark.parametrize("name", TRANSCRIPTS)
@given(cuts=st.sets(st.integers(1, 2000), max_size=20))
def test_answers_do_not_depend_on_where_the_network_cuts(
    name: str, cuts: set[int], converse: Converse
) -> None:
    said, expected = converse(TRANSCRIPTS[name], cuts)
    assert said == expected


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_answers_are_the_same_when_each_octet_comes_alone(name: str, converse: Converse) -> None:
    said, expected = converse(TRANSCRIPTS[name], range(1, 4000))
    assert said == expected
