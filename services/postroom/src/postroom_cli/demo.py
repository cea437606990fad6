"""The demo: two accounts with generated passwords, the same at each start."""

import json
import secrets
import time
from pathlib import Path
from typing import Final

from postroom_cli.api import Api, segment
from postroom_cli.errors import CommandError
from postroom_cli.places import DEMO, write_private

DOMAIN: Final = "postroom.test"
NAMES: Final = {"alice": "Alice", "bob": "Bob"}
_PATIENCE_SECONDS: Final = 10.0


def ensure_demo(api: Api, data: Path) -> dict[str, str]:
    """Make sure that domain and accounts are there; returns the password of each address."""
    known = _known_passwords(data / DEMO)
    passwords = known or {f"{name}@{DOMAIN}": secrets.token_urlsafe(12) for name in NAMES}
    there = {item["name"] for item in _patiently(api, "admin/domains")}
    if DOMAIN not in there:
        api.ask("POST", "admin/domains", {"name": DOMAIN})
    accounts = {item["address"] for item in _patiently(api, "admin/accounts")}
    for address, password in passwords.items():
        if address not in accounts:
            name = NAMES[address.partition("@")[0]]
            document = {"address": address, "password": password, "display_name": name}
            api.ask("POST", "admin/accounts", document)
        elif not known:
            api.ask("PUT", f"admin/accounts/{segment(address)}/password", {"password": password})
    if not known:  # last: what is written down is true
        write_private(data / DEMO, json.dumps(passwords, indent=2) + "\n")
    return passwords


def _patiently(api: Api, path: str) -> list[dict[str, object]]:
    """A list from services that may have been ready for a moment only."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return list(api.items(path))
        except CommandError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _known_passwords(file: Path) -> dict[str, str]:
    """Those of the last start; none at the first one, or when somebody has spoilt the file."""
    try:
        found: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        return {f"{name}@{DOMAIN}": str(found[f"{name}@{DOMAIN}"]) for name in NAMES}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
