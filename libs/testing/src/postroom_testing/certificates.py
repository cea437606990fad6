"""A certificate authority for tests: files for listeners, services and clients."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificate:
    """A chain and its key in PEM files, with the authority that signed them."""

    cert_file: Path
    key_file: Path
    ca_file: Path


class CertificateAuthority:
    """Issues certificates into a directory; a new one of the same name replaces the old one's files."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._authority = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def issue(self, *names: str) -> Certificate:
        """A certificate for these host names, addresses or services; the files are named after the first."""
        issued = self._authority.issue_cert(*names)
        cert_file, key_file = (self._directory / f"{names[0]}.{kind}.pem" for kind in ("cert", "key"))
        cert_file.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key_file))
        key_file.chmod(0o600)
        return Certificate(cert_file, key_file, self.ca_file)
