"""Places for Postrooms that are lost and restored; only `make drill` collects tests here."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

collect_ignore_glob = [] if os.environ.get("POSTROOM_DRILL") else ["test_*.py"]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the user whom root becomes can reach."""
    made = Path(tempfile.mkdtemp(prefix="postroom-drill-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)
