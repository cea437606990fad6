"""The beginning of a transfer: what can be refused is refused before 150."""

from uuid import UUID

from ftp_gateway.downloads import Download
from ftp_gateway.errors import TransferError
from ftp_gateway.files import Files
from ftp_gateway.listings import Listing, list_target, machine_listing, names_target
from ftp_gateway.transfer import Work
from ftp_gateway.uploads import Upload
from postroom_contracts.errors import InvalidRequestError
from postroom_runtime.connection import Connection
from postroom_runtime.transfer import Transfers
from postroom_wire.ftp import ServerSession, Transfer, commands
from postroom_wire.ftp.standard_replies import INVALID_RESTART


class Beginning:
    """Prepares the transfers of one login. Its methods raise `TransferError`, `PostroomError`."""

    def __init__(self, files: Files, transfers: Transfers, account_id: UUID) -> None:
        self._files, self._transfers, self._account_id = files, transfers, account_id

    async def prepare(self, command: Transfer, engine: ServerSession) -> Work:
        """What is to be done once the data connection is there."""
        verb, files = engine.verb, self._files
        match command:
            case commands.Stor(path, offset):
                try:
                    upload = await Upload.begin(files, self._transfers, path, offset=offset)
                except InvalidRequestError:
                    if offset:
                        raise TransferError(INVALID_RESTART) from None
                    raise
                return self._upload(verb, upload, ascii_type=engine.ascii)
            case commands.Appe(path):
                upload = await Upload.begin(files, self._transfers, path, append=True)
                return self._upload(verb, upload, ascii_type=engine.ascii)
            case commands.Retr(path, offset):
                opened = await files.open(path)
                if offset > opened.node.size:
                    raise TransferError(INVALID_RESTART)
                download = Download(self._transfers, opened, offset)
                return self._download(verb, download, ascii_type=engine.ascii)
            case commands.List(target):
                return self._listing(verb, await list_target(files, target))
            case commands.Nlst(target):
                return self._listing(verb, await names_target(files, target))
            case commands.Mlsd(path):
                return self._listing(verb, await machine_listing(files, path, engine.facts))

    def _upload(self, verb: str, upload: Upload, *, ascii_type: bool) -> Work:
        async def move(data: Connection) -> int:
            return await upload.run(data, ascii_type=ascii_type)

        return Work(verb, self._account_id, move, upload.commit, upload.abort)

    def _download(self, verb: str, download: Download, *, ascii_type: bool) -> Work:
        async def move(data: Connection) -> int:
            return await download.run(data, ascii_type=ascii_type)

        return Work(verb, self._account_id, move)

    def _listing(self, verb: str, listing: Listing) -> Work:
        return Work(verb, self._account_id, listing.run)
