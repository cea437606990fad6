"""A real client that keeps a copy: the second run finds nothing to do."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

from postroom_testing.imap_client import Connect, ImapClient

CONFIGURATION = """
IMAPAccount postroom
Host 127.0.0.1
Port {port}
User {user}
Pass "{password}"
SSLType None
AuthMechs LOGIN

IMAPStore far
Account postroom

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Sync All
Expunge Both
SyncState *
"""


async def run(program: Path, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


def files(folder: Path) -> dict[str, str]:
    """All messages of a Maildir tree by their names, with digests."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for kind in ("cur", "new")
        for file in sorted(folder.rglob(f"{kind}/*"))
    }


async def test_mbsync_has_nothing_to_do_the_second_time(
    imap: Connect,
    imap_port: int,
    mail_account: tuple[str, str],
    debian_tool: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    mbsync = debian_tool("mbsync")
    client: ImapClient = await imap(None)
    await client.login(mail_account[0], f'"{mail_account[1]}"')
    bodies = [f"Subject: {at}\r\nFrom: a@b.test\r\n\r\n{'line ' * at}\r\n".encode() for at in range(40)]
    for at, body in enumerate(bodies):
        flags = "(\\Seen)" if at % 2 else "(\\Flagged)"
        assert (await client.append("Archive" if at % 5 == 0 else "INBOX", body, flags)).ok

    folder = tmp_path / "mail"
    folder.mkdir()
    configuration = tmp_path / "mbsyncrc"
    user, password = mail_account
    configuration.write_text(
        CONFIGURATION.format(port=imap_port, user=user, password=password, folder=folder)
    )
    await run(mbsync, "-c", str(configuration), "-a")
    first = files(folder)
    assert len(first) == len(bodies)
    status = [await client.ok(f"STATUS {name} (MESSAGES UIDNEXT UNSEEN)") for name in ("INBOX", "Archive")]
    await run(mbsync, "-c", str(configuration), "-a")
    assert files(folder) == first
    assert status == [
        await client.ok(f"STATUS {name} (MESSAGES UIDNEXT UNSEEN)") for name in ("INBOX", "Archive")
    ]

    near = next(file for file in (folder / "INBOX" / "new").iterdir() if not file.name.endswith("S"))
    near.rename(folder / "INBOX" / "cur" / f"{near.name}S")
    await run(mbsync, "-c", str(configuration), "-a")
    await client.ok("SELECT INBOX")
    (found,) = await client.ok("SEARCH SEEN")
    assert len(found.split()) - 2 == sum(1 for at in range(40) if at % 2 and at % 5) + 1
