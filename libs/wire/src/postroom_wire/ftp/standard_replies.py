"""The constant replies of an FTP server: RFC 959 s4.2 and the extensions."""

from typing import Final

from postroom_wire.ftp.replies import Reply

# The connection as a whole. Every refusal of a session is 421, RFC 959 s5.4.
GREETING: Final = Reply(220, "Postroom FTP service ready")
GOODBYE: Final = Reply(221, "Goodbye")
TOO_MANY_SESSIONS: Final = Reply(421, "Too many sessions; try again later")
TOO_MANY_ERRORS: Final = Reply(421, "Too many errors")
TOO_MANY_LOGIN_FAILURES: Final = Reply(421, "Too many failed logins")
LINE_FLOOD: Final = Reply(421, "Command line far too long")
IDLE_TIMEOUT: Final = Reply(421, "Idle for too long")
SHUTTING_DOWN: Final = Reply(421, "The service is shutting down; try again later")
LOGIN_UNAVAILABLE: Final = Reply(421, "Login is not possible now; try again later")
TLS_FAILED: Final = Reply(421, "TLS negotiation failed")  # RFC 4217 s10.1

# Lines and arguments.
LINE_TOO_LONG: Final = Reply(500, "Command line too long")
BARE_LINE_FEED: Final = Reply(500, "A command line ends in CR LF")
ILLEGAL_OCTET: Final = Reply(501, "NUL, CR and LF are not allowed")
UNKNOWN_COMMAND: Final = Reply(500, "Command not recognised")
NOT_IMPLEMENTED: Final = Reply(502, "Command not implemented")
BAD_ARGUMENT: Final = Reply(501, "Syntax error in the argument")
MISSING_ARGUMENT: Final = Reply(501, "An argument is needed")
NO_ARGUMENT_ALLOWED: Final = Reply(501, "No argument is allowed")
PARAMETER_NOT_IMPLEMENTED: Final = Reply(504, "Command not implemented for that parameter")
NOT_UTF8: Final = Reply(501, "The argument is not valid UTF-8")
ARGUMENT_TOO_LONG: Final = Reply(501, "The argument is too long")
PATH_TOO_LONG: Final = Reply(501, "The pathname is too long or too deep")

# Order of commands.
BAD_SEQUENCE: Final = Reply(503, "Bad sequence of commands")
USER_FIRST: Final = Reply(503, "Send USER first")
RNFR_FIRST: Final = Reply(503, "Send RNFR first")
NOT_LOGGED_IN: Final = Reply(530, "Log in with USER and PASS first")
ALREADY_LOGGED_IN: Final = Reply(530, "Already logged in; this session stays with its user")

# Login.
PASSWORD_NEEDED: Final = Reply(331, "User name okay, need password")
LOGGED_IN: Final = Reply(230, "User logged in, proceed")
LOGIN_FAILED: Final = Reply(530, "Login incorrect")
NO_ACCOUNT_NEEDED: Final = Reply(202, "No account is needed")
REINITIALISED: Final = Reply(220, "Ready for a new user")
REIN_UNDER_TLS: Final = Reply(502, "REIN is not possible under TLS; open a new connection")

# TLS: RFC 2228, RFC 4217.
TLS_GO_AHEAD: Final = Reply(234, "Proceed with TLS negotiation")
TLS_REQUIRED: Final = Reply(530, "Send AUTH TLS first; passwords are not taken in the clear")
TLS_UNAVAILABLE: Final = Reply(431, "TLS is not available now")
TLS_ALREADY: Final = Reply(503, "The connection is already protected by TLS")
UNKNOWN_MECHANISM: Final = Reply(504, "Only AUTH TLS is understood")
PBSZ_NEEDS_TLS: Final = Reply(503, "Send AUTH TLS first")
PBSZ_SET: Final = Reply(200, "PBSZ=0")
PROT_NEEDS_PBSZ: Final = Reply(503, "Send PBSZ first")
PROT_CLEAR: Final = Reply(200, "Data connections are clear")
PROT_PRIVATE: Final = Reply(200, "Data connections are private")
PROT_UNSUPPORTED: Final = Reply(536, "TLS knows PROT C and PROT P only")
PROT_REQUIRED: Final = Reply(521, "Data connection cannot be opened with this PROT setting; send PROT P")
DATA_TLS_FAILED: Final = Reply(522, "TLS negotiation failed on the data connection")
DATA_TLS_NOT_RESUMED: Final = Reply(522, "The data connection must resume the TLS session of the control one")

# Transfer parameters.
TYPE_ASCII: Final = Reply(200, "Type set to A")
TYPE_IMAGE: Final = Reply(200, "Type set to I")
MODE_STREAM: Final = Reply(200, "Mode set to S")
STRUCTURE_FILE: Final = Reply(200, "Structure set to F")
NO_ALLOCATION_NEEDED: Final = Reply(202, "No storage allocation necessary")
RESTART_SET: Final = Reply(350, "Restart position accepted; send RETR or STOR")
INVALID_RESTART: Final = Reply(554, "Requested action not taken: invalid REST parameter")  # RFC 1123
UTF8_ON: Final = Reply(200, "UTF8 is always on")
BAD_OPTION: Final = Reply(501, "Option not understood")

# Data connections.
PORT_SET: Final = Reply(200, "Data port accepted")
FOREIGN_ADDRESS: Final = Reply(501, "Data connections go to the client's own address only")
WELL_KNOWN_PORT: Final = Reply(504, "Data connections go to ports from 1024 on only")  # RFC 2577
PORT_NEEDS_IPV4: Final = Reply(501, "PORT is for IPv4; use EPRT")
PASV_NEEDS_IPV4: Final = Reply(425, "PASV is for IPv4; use EPSV")
USE_PROTOCOL_1: Final = Reply(522, "Network protocol not supported, use (1)")  # RFC 2428 s2
USE_PROTOCOL_2: Final = Reply(522, "Network protocol not supported, use (2)")
EPSV_ALL: Final = Reply(200, "EPSV ALL accepted; only EPSV sets up data connections now")
EPSV_ONLY: Final = Reply(501, "Refused after EPSV ALL")  # RFC 2428 s3
NO_PASSIVE_PORT: Final = Reply(425, "No passive port is free; try again later")
DATA_PORT_FIRST: Final = Reply(425, "Send PASV, EPSV, PORT or EPRT first")
CANNOT_OPEN_DATA: Final = Reply(425, "Cannot open the data connection")
FOREIGN_DATA_PEER: Final = Reply(425, "The data connection came from another address")
DATA_TIMEOUT: Final = Reply(426, "The data connection was idle for too long; transfer aborted")

# Transfers.
OPENING_DATA: Final = Reply(150, "File status okay; about to open data connection")
TRANSFER_COMPLETE: Final = Reply(226, "Transfer complete")
TRANSFER_ABORTED: Final = Reply(426, "Connection closed; transfer aborted")
ABORTED: Final = Reply(226, "Abort successful")

# Files and directories.
DIRECTORY_CHANGED: Final = Reply(250, "Directory changed")
RENAME_PENDING: Final = Reply(350, "Ready for RNTO")
DONE: Final = Reply(250, "Requested file action okay, completed")
NO_SUCH_FILE: Final = Reply(550, "No such file or directory")
NOT_A_DIRECTORY: Final = Reply(550, "Not a directory")
MLSD_NEEDS_DIRECTORY: Final = Reply(501, "MLSD lists directories only")  # RFC 3659 s7.2.1
NOT_A_FILE: Final = Reply(550, "Not a plain file")
ALREADY_EXISTS: Final = Reply(550, "A file or directory of that name exists")
DIRECTORY_NOT_EMPTY: Final = Reply(550, "The directory is not empty")
PERMISSION_DENIED: Final = Reply(550, "Permission denied")
NAME_NOT_ALLOWED: Final = Reply(553, "File name not allowed")
SIZE_NEEDS_IMAGE: Final = Reply(550, "SIZE is not available in TYPE A; send TYPE I")
FILE_BUSY: Final = Reply(450, "The file is busy; try again later")
TEMPORARILY_UNAVAILABLE: Final = Reply(450, "Not possible now; try again later")
LOCAL_ERROR: Final = Reply(451, "Requested action aborted: local error in processing")
INSUFFICIENT_STORAGE: Final = Reply(452, "Insufficient storage; try again later")
QUOTA_EXCEEDED: Final = Reply(552, "Storage allocation exceeded")

# Information.
SYSTEM: Final = Reply(215, "UNIX Type: L8")
NOTHING_DONE: Final = Reply(200, "OK")
NO_SUCH_TOPIC: Final = Reply(501, "No help for that")
