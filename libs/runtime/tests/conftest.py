"""What the runtime's tests share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom_testing.certificates import CertificateAuthority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A private directory whose path is short enough for a unix socket."""
    path = Path(tempfile.mkdtemp(prefix="pr-"))
    yield path
    shutil.rmtree(path)
