"""The commands about files and directories that need no data connection."""

from datetime import UTC
from typing import TypeAlias

from ftp_gateway.files import Files
from ftp_gateway.listings import entry_of, status_of
from postroom.filestore.v1 import file_pb2 as pb
from postroom_wire.ftp import Reply, commands, directory_created, file_size, mlst_reply, modification_time
from postroom_wire.ftp import standard_replies as replies

Question: TypeAlias = (
    commands.Cwd
    | commands.Mkd
    | commands.Rmd
    | commands.Dele
    | commands.Rnfr
    | commands.Rnto
    | commands.Size
    | commands.Mdtm
    | commands.Mlst
    | commands.Stat
)


async def answer_about_files(files: Files, command: Question, facts: tuple[str, ...]) -> Reply:
    """The reply to one of them; raises `PostroomError`."""
    match command:
        case commands.Cwd(path):
            node = await files.node(path)
            return replies.DIRECTORY_CHANGED if node.directory else replies.NOT_A_DIRECTORY
        case commands.Size(path):
            node = await files.node(path)
            return replies.NOT_A_FILE if node.directory else file_size(node.size)
        case commands.Mdtm(path):
            return modification_time((await files.node(path)).modified_at.ToDatetime(UTC))
        case commands.Mlst(path):
            return mlst_reply(path, entry_of(await files.node(path)), facts)
        case commands.Stat(target):
            return await status_of(files, target)
        case _:
            return await _change(files, command)


async def _change(
    files: Files, command: commands.Mkd | commands.Rmd | commands.Dele | commands.Rnfr | commands.Rnto
) -> Reply:
    match command:
        case commands.Mkd(path):
            await files.create_directory(path)
            return directory_created(path)
        case commands.Rmd(path):
            await files.delete(path, pb.NODE_KIND_DIRECTORY)
        case commands.Dele(path):
            await files.delete(path, pb.NODE_KIND_FILE)
        case commands.Rnfr(path):
            await files.node(path)
            return replies.RENAME_PENDING
        case commands.Rnto(source, path):
            await files.move(source, path)
    return replies.DONE
