"""Conversations as the extensions have them, under every chunking; `-- TLS` stands for the handshake."""

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
_TLS = """
    C: AUTH TLS
    S: 234 Proceed with TLS negotiation
    -- TLS
"""


TRANSCRIPTS = {
    "RFC 2389 s3.2: FEAT, and RFC 3659 s7.8": """
        C: feat
        S: 211-Extensions supported:
        S:  AUTH TLS
        S:  EPRT
        S:  EPSV
        S:  MDTM
        S:  MLST type*;size*;modify*;perm*;unique*;create;
        S:  PBSZ
        S:  PROT
        S:  REST STREAM
        S:  SIZE
        S:  TVFS
        S:  UTF8
        S: 211 End
        C: FEAT me
        S: 501 No argument is allowed
        C: OPTS UTF8 ON
        S: 200 UTF8 is always on
        C: opts utf8
        S: 200 UTF8 is always on
        C: OPTS UTF8 OFF
        S: 501 Option not understood
        C: OPTS FEAT
        S: 501 Option not understood
        C: OPTS
        S: 501 Option not understood""",
    "RFC 3659 s7.9.2: OPTS MLST": f"""
        {_LOGIN}
        C: OptS Mlst Create;Type;UNIX.mode;Perm;
        S: 200 MLST OPTS type;perm;create;
        C: opts MLst lang;type;charset;
        S: 200 MLST OPTS type;
        C: OPTS mlst size;frogs;
        S: 200 MLST OPTS size;
        C: opts MLst unique type;
        S: 501 Option not understood
        C: MLst tmp
        S: 250-Listing
        S:  size=5; /tmp
        S: 250 End
        C: Opts MLST
        S: 200 MLST OPTS
        C: MLST
        S: 250-Listing
        S:   /
        S: 250 End
        C: OPTS mlst fish;cakes;
        S: 200 MLST OPTS
        C: OptS Mlst Modify;Unique;
        S: 200 MLST OPTS modify;unique;
        C: MLST tmp
        S: 250-Listing
        S:  modify=19990930152225;unique=keVO1+YZ5; /tmp
        S: 250 End""",
    "RFC 2428 s2: EPRT, s3: EPSV": f"""
        {_LOGIN}
        C: EPRT |1|192.0.2.1|6275|
        S: 200 Data port accepted
        C: EPRT |2|1080::8:800:200C:417A|5282|
        S: 522 Network protocol not supported, use (1)
        C: EPRT |3|x|5282|
        S: 501 Syntax error in the argument
        C: EPRT |3|1.2.3.4|5282|
        S: 522 Network protocol not supported, use (1)
        C: EPSV 2
        S: 522 Network protocol not supported, use (1)
        C: EPSV 1
        S: 229 Entering Extended Passive Mode (|||30000|)
        C: EPSV x
        S: 501 Syntax error in the argument
        C: EPSV all
        S: 200 EPSV ALL accepted; only EPSV sets up data connections now
        C: PASV
        S: 501 Refused after EPSV ALL
        C: PORT 192,0,2,1,4,0
        S: 501 Refused after EPSV ALL
        C: EPRT |1|192.0.2.1|6275|
        S: 501 Refused after EPSV ALL
        C: EPSV
        S: 229 Entering Extended Passive Mode (|||30000|)""",
    "RFC 2640 s3.1: spaces belong to the name": f"""
        {_LOGIN}
        C: MKD   foo bar{" "}
        S: 257 "/  foo bar " created
        C: MKD å/日本
        S: 257 "/å/日本" created""",
    "RFC 3659 s3.4 and s4.4: MDTM and SIZE": f"""
        {_LOGIN}
        C: MdTm 19990929043300 File6
        S: 213 19990930152225
        C: MDTM missing
        S: 550 No such file or directory
        C: size Example
        S: 550 SIZE is not available in TYPE A; send TYPE I
        C: TYPE I
        S: 200 Type set to I
        C: size Example
        S: 213 1830""",
    "RFC 3659 s5.5: REST": f"""
        {_LOGIN}
        C: TYPE I
        S: 200 Type set to I
        C: REST x
        S: 501 Syntax error in the argument
        C: REST 9223372036854775808
        S: 501 Syntax error in the argument
        C: REST 802816
        S: 350 Restart position accepted; send RETR or STOR
        C: PORT 192,0,2,1,15,107
        S: 200 Data port accepted
        C: RETR cap60.pl198.tar
        S: 150 File status okay; about to open data connection
        S: 226 Transfer complete""",
    "RFC 1123: a restart that TYPE A makes impossible": f"""
        {_LOGIN}
        C: EPSV
        S: 229 Entering Extended Passive Mode (|||30000|)
        C: REST 5
        S: 350 Restart position accepted; send RETR or STOR
        C: RETR a
        S: 554 Requested action not taken: invalid REST parameter
        C: REST 0
        S: 350 Restart position accepted; send RETR or STOR
        C: RETR a
        S: 150 File status okay; about to open data connection
        S: 226 Transfer complete""",
    "RFC 4217 s12.1: a protected session": f"""
        C: USER ann
        S: 530 Send AUTH TLS first; passwords are not taken in the clear
        C: PBSZ 0
        S: 503 Send AUTH TLS first
        C: AUTH GSSAPI
        S: 504 Only AUTH TLS is understood
        {_TLS}
        C: AUTH TLS
        S: 503 The connection is already protected by TLS
        {_LOGIN}
        C: PROT P
        S: 503 Send PBSZ first
        C: PBSZ 0
        S: 200 PBSZ=0
        C: EPSV
        S: 229 Entering Extended Passive Mode (|||30000|)
        C: LIST
        S: 521 Data connection cannot be opened with this PROT setting; send PROT P
        C: PROT S
        S: 536 TLS knows PROT C and PROT P only
        C: PROT X
        S: 504 Command not implemented for that parameter
        C: PROT P
        S: 200 Data connections are private
        C: LIST
        S: 150 File status okay; about to open data connection
        S: 226 Transfer complete
        C: PROT C
        S: 200 Data connections are clear
        C: REIN
        S: 502 REIN is not possible under TLS; open a new connection
        C: CCC
        S: 500 Command not recognised
        C: ADAT x
        S: 502 Command not implemented
        C: QUIT
        S: 221 Goodbye""",
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
