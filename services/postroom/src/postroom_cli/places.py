"""Where a local instance keeps its data, and what of it other commands need to find it."""

import os
from pathlib import Path
from typing import Final

ADMIN_TOKEN: Final = "admin.token"  # noqa: S105  # a file's name
API_URL: Final = "api.url"
DEMO: Final = "demo.json"


def default_data() -> Path:
    """POSTROOM_DATA; else /var/lib/postroom for root, and the user's data directory for others."""
    if named := os.environ.get("POSTROOM_DATA"):
        return Path(named)
    if os.geteuid() == 0:
        return Path("/var/lib/postroom")
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "postroom"


def write_private(path: Path, text: str) -> None:
    """Write a file that only we can read, whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)
