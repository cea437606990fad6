"""Places for whole Postrooms."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """A directory for data that the user whom root becomes can reach."""
    place = Path(tempfile.mkdtemp(prefix="postroom-e2e-"))
    place.chmod(0o755)
    yield place / "data"
    shutil.rmtree(place, ignore_errors=True)
