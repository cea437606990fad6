"""SASL (RFC 4422) as SMTP, IMAP and POP3 share it: PLAIN, LOGIN, SCRAM-SHA-256(-PLUS), OAUTHBEARER, XOAUTH2
and EXTERNAL, without any I/O."""

from postroom_wire.sasl.attempts import (
    Attempt,
    Bearer,
    Certificate,
    Credentials,
    ScramOpening,
    ScramProof,
)
from postroom_wire.sasl.channel import UNBOUND, Channel
from postroom_wire.sasl.errors import LocalProtocolError, SaslError
from postroom_wire.sasl.exchange import Challenge, SaslServer, Step, Verdict
from postroom_wire.sasl.mechanism import Mechanism, find, offer
from postroom_wire.sasl.saslprep import PreparationError, saslprep

__all__ = [
    "UNBOUND",
    "Attempt",
    "Bearer",
    "Certificate",
    "Challenge",
    "Channel",
    "Credentials",
    "LocalProtocolError",
    "Mechanism",
    "PreparationError",
    "SaslError",
    "SaslServer",
    "ScramOpening",
    "ScramProof",
    "Step",
    "Verdict",
    "find",
    "offer",
    "saslprep",
]
