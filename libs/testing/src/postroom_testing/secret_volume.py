"""Files as Kubernetes mounts a secret: links through `..data`, which is swapped in one step."""

from itertools import count
from pathlib import Path

from postroom_testing.certificates import Certificate


class SecretVolume:
    """A directory with `tls.crt`, `tls.key` and `ca.crt`."""

    def __init__(self, directory: Path, certificate: Certificate) -> None:
        self._directory = directory
        self._versions = count(1)
        directory.mkdir(parents=True)
        self.renew(certificate)
        for name in ("tls.crt", "tls.key", "ca.crt"):
            (directory / name).symlink_to(Path("..data") / name)

    @property
    def certificate(self) -> Certificate:
        """Where the files are."""
        return Certificate(
            self._directory / "tls.crt", self._directory / "tls.key", self._directory / "ca.crt"
        )

    def renew(self, certificate: Certificate) -> None:
        """All files at once, as kubelet does it."""
        version = f"..version{next(self._versions)}"
        folder = self._directory / version
        folder.mkdir()
        (folder / "tls.crt").write_bytes(certificate.cert_file.read_bytes())
        (folder / "tls.key").write_bytes(certificate.key_file.read_bytes())
        (folder / "ca.crt").write_bytes(certificate.ca_file.read_bytes())
        fresh = self._directory / "..data_tmp"
        fresh.symlink_to(version)
        fresh.replace(self._directory / "..data")
