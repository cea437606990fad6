"""Places for Postrooms that are to be hurt."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def data() -> Iterator[Path]:
    """A directory for data that the user whom root becomes can reach."""
    place = Path(tempfile.mkdtemp(prefix="postroom-chaos-"))
    place.chmod(0o755)
    yield place / "data"
    shutil.rmtree(place, ignore_errors=True)
