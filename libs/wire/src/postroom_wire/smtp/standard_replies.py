"""The constant replies of an SMTP server, each with the section that asks for it."""

from typing import Final

from postroom_wire.smtp.replies import Reply

# What the engine answers by itself.
CLOSING: Final = Reply(221, "2.0.0", "Bye")
OK: Final = Reply(250, "2.0.0", "OK")
CANNOT_VERIFY: Final = Reply(252, "2.5.0", "Cannot verify, but will take mail and try to deliver it")
HELP: Final = Reply(214, "2.0.0", "See RFC 5321")
LINE_TOO_LONG: Final = Reply(500, "5.5.2", "Line too long")  # RFC 5321 s4.5.3.1.9
BARE_LINE_FEED: Final = Reply(500, "5.5.2", "Lines end with CR LF")  # RFC 5321 s2.3.8
BAD_CHARACTER: Final = Reply(500, "5.5.2", "Control characters are not allowed")
UNKNOWN_COMMAND: Final = Reply(500, "5.5.1", "Command unknown")
NOT_IMPLEMENTED: Final = Reply(502, "5.5.1", "Command not implemented")
BAD_SEQUENCE: Final = Reply(503, "5.5.1", "Bad sequence of commands")
BAD_ARGUMENTS: Final = Reply(501, "5.5.4", "Invalid command arguments")
UNKNOWN_PARAMETER: Final = Reply(555, "5.5.4", "Parameter not recognized or not implemented")
BAD_SENDER: Final = Reply(501, "5.1.7", "Bad sender mailbox address syntax")
BAD_RECIPIENT: Final = Reply(501, "5.1.3", "Bad destination mailbox address syntax")
SMTPUTF8_REQUIRED: Final = Reply(553, "5.6.7", "Non-ASCII addresses need SMTPUTF8")  # RFC 6531 s3.5
MESSAGE_TOO_BIG: Final = Reply(552, "5.3.4", "Message size exceeds fixed limit")  # RFC 1870 s6.1
TOO_MANY_RECIPIENTS: Final = Reply(452, "4.5.3", "Too many recipients")  # RFC 5321 s4.5.3.1.10
NO_VALID_RECIPIENTS: Final = Reply(554, "5.5.1", "No valid recipients")  # RFC 5321 s3.3
BARE_CR_OR_LF: Final = Reply(550, "5.6.11", "Bare CR, bare LF or NUL in message content")
TEXT_LINE_TOO_LONG: Final = Reply(500, "5.6.0", "Text line too long")  # RFC 5321 s4.5.3.1.9
TLS_ACTIVE: Final = Reply(503, "5.5.1", "TLS is already active")
TLS_REQUIRED: Final = Reply(530, "5.7.0", "Must issue a STARTTLS command first")  # RFC 3207 s4
AUTH_REQUIRED: Final = Reply(530, "5.7.0", "Authentication required")  # RFC 4954 s6
AUTH_NEEDS_TLS: Final = Reply(538, "5.7.11", "Encryption required for requested authentication mechanism")
AUTH_DONE: Final = Reply(503, "5.5.1", "Already authenticated")  # RFC 4954 s4
AUTH_UNKNOWN: Final = Reply(504, "5.5.4", "Unrecognized authentication mechanism")
AUTH_CANCELLED: Final = Reply(501, "5.7.0", "Authentication cancelled")
AUTH_MALFORMED: Final = Reply(501, "5.5.2", "Cannot decode response")
AUTH_LINE_TOO_LONG: Final = Reply(500, "5.5.6", "Authentication exchange line is too long")
TOO_MANY_ERRORS: Final = Reply(421, "4.7.0", "Too many errors, closing transmission channel")
TOO_MANY_COMMANDS: Final = Reply(421, "4.7.0", "Too many commands, closing transmission channel")
NOT_SMTP: Final = Reply(421, "4.7.0", "This is not what SMTP looks like, closing transmission channel")

# What the client engine gives as the result of a message that it need not even try.
SMTPUTF8_NOT_OFFERED: Final = Reply(553, "5.6.7", "The next server does not take non-ASCII addresses")
TOO_BIG_FOR_PEER: Final = Reply(552, "5.3.4", "Message size exceeds the next server's limit")  # RFC 1870 s6.1

# What a service commonly answers through the engine.
SENDER_OK: Final = Reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK: Final = Reply(250, "2.1.5", "Recipient OK")
START_MAIL_INPUT: Final = Reply(354, None, "Start mail input; end with <CRLF>.<CRLF>")
READY_TO_START_TLS: Final = Reply(220, "2.0.0", "Ready to start TLS")
TLS_NOT_AVAILABLE: Final = Reply(454, "4.7.0", "TLS not available due to temporary reason")
AUTH_OK: Final = Reply(235, "2.7.0", "Authentication succeeded")
AUTH_FAILED: Final = Reply(535, "5.7.8", "Authentication credentials invalid")
AUTH_UNAVAILABLE: Final = Reply(454, "4.7.0", "Temporary authentication failure")
NO_SUCH_MAILBOX: Final = Reply(550, "5.1.1", "No such mailbox here")
RELAY_DENIED: Final = Reply(550, "5.7.1", "Relaying denied")
LOCAL_ERROR: Final = Reply(451, "4.3.0", "Local error in processing, try again later")
INSUFFICIENT_STORAGE: Final = Reply(452, "4.3.1", "Insufficient system storage, try again later")
IDLE_TIMEOUT: Final = Reply(421, "4.4.2", "Idle for too long, closing transmission channel")
SHUTTING_DOWN: Final = Reply(421, "4.3.2", "Service is restarting, try again")
TOO_MANY_CONNECTIONS: Final = Reply(421, "4.7.0", "Too many connections, try again later")
