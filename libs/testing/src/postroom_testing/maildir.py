"""A tree of Maildirs as clients keep them: one below the other, flags in the files' names."""

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Maildir:
    """Messages are named by their subjects; flags are letters: D, F, P, R, S, T."""

    root: Path

    def folders(self) -> set[str]:
        """All of them."""
        return {str(each.parent.relative_to(self.root)) for each in self.root.rglob("cur")}

    def make(self, folder: str) -> None:
        """A new folder."""
        for part in ("cur", "new", "tmp"):
            (self.root / folder / part).mkdir(parents=True)

    def add(self, octets: bytes, folder: str = "INBOX", flags: str = "") -> None:
        """A new message, with the line ends of this side."""
        part = f"cur/{secrets.token_hex(8)}.host:2,{flags}" if flags else f"new/{secrets.token_hex(8)}.host"
        (self.root / folder / part).write_bytes(octets.replace(b"\r\n", b"\n"))

    def messages(self, folder: str = "INBOX") -> dict[str, set[str]]:
        """The flags of each."""
        found = {_subject(file): set(_flags(file)) for file in self._files(folder)}
        if len(found) != sum(1 for _ in self._files(folder)):
            raise AssertionError(f"doubled in {folder}: {sorted(map(_subject, self._files(folder)))}")
        return found

    def octets(self, subject: str, folder: str = "INBOX") -> bytes:
        """A message as it lies there."""
        return self._find(subject, folder).read_bytes()

    def flag(self, subject: str, flags: str, folder: str = "INBOX") -> None:
        """Give a message these flags and no others."""
        file = self._find(subject, folder)
        name = f"{file.name.partition(':2,')[0]}:2,{''.join(sorted(flags))}"
        file.rename(self.root / folder / "cur" / name)

    def delete(self, subject: str, folder: str = "INBOX") -> None:
        """Remove a message's file."""
        self._find(subject, folder).unlink()

    def snapshot(self) -> dict[str, tuple[str, int]]:
        """Every message's file by its path: its digest and when it was last changed."""
        return {
            str(file.relative_to(self.root)): (
                hashlib.sha256(file.read_bytes()).hexdigest(),
                file.stat().st_mtime_ns,
            )
            for folder in sorted(self.folders())
            for file in self._files(folder)
        }

    def _files(self, folder: str) -> Iterator[Path]:
        for part in ("cur", "new"):
            yield from (self.root / folder / part).iterdir()

    def _find(self, subject: str, folder: str) -> Path:
        return next(file for file in self._files(folder) if _subject(file) == subject)


def _subject(file: Path) -> str:
    return str(message_from_bytes(file.read_bytes(), policy=policy.default)["Subject"])


def _flags(file: Path) -> str:
    return file.name.partition(":2,")[2]
