"""IMAP sessions (RFC 3501): the engine of `postroom_wire.imap` between a connection and the mail store.

- `listeners`, `session`: a connection's life; `commands`: which function does which command
- `context`: what a session is in the middle of; `output`: what it says; `updates`: what it tells unasked
- `refusals`: every error of the stores as what a client reads
- `authenticating`, `selecting`, `listing`, `naming`, `fetching` with `sections`, `flagging`, `searching`,
  `moving`, `appending`: the commands
"""
