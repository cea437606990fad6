"""IMAP4rev1 and its extensions (RFC 3501, RFC 9051): commands, responses and their grammar.

From the socket inwards:

- `session`: `ServerSession`, octets to commands that the state allows; `events` is what it says
- `fragmenter`: lines and literals, `limits` before storage, APPEND streamed; `state`: the table of states
- `parser` with `cursor`, `list_parser`, `fetch_parser`, `search_parser`: one command to its value in
  `commands`, `fetch_items`, `search_keys`
- `enabling`: what ENABLE switches on
- `sequence`, `flags`, `mailbox_name`, `dates`: the small languages inside commands and responses
- `view`: sequence numbers of one session over the mailbox that all share
- `search`: what memory answers of a SEARCH, and what the store must; `section`: which octets BODY[...] means
- `responses`, `fetch_response`, `codes`, `encoding`, `capability`: values to octets
- `errors`: their mistakes with our constant replies, and ours
"""
