"""Checks the small rules of the house that no linter knows; prints each breach and exits 1 if there is one.

- `os.environ` is read in settings modules, in the embedded stack, the command line and test code only;
- a task that a service starts is in a TaskGroup, or is cancelled or awaited by name;
- wire code has no clock;
- modules have at most 400 lines (tests 800), functions at most 40 of code (tests 80);
- a reference to an RFC has the form `RFC <n> s<section>`, and the section exists
  (in those RFCs that rfc_sections.json lists).
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_MODULE_LINES: Final = 400
MAX_TEST_MODULE_LINES: Final = 800  # transcripts and tables
MAX_FUNCTION_LINES: Final = 40
MAX_TEST_FUNCTION_LINES: Final = 80  # a fault from its cause to its end

_ROOT: Final = Path(__file__).resolve().parent.parent
_GENERATED: Final = "libs/contracts/src/postroom/"
_READS_ENVIRONMENT: Final = re.compile(
    r"(^|/)(settings(/|\.py$|_\w+\.py$)|tests/|conftest\.py$)|^tools/|^libs/(embedded|testing)/|^services/postroom/"
)
_PURE: Final = re.compile(r"^libs/(wire|mailauth)/src/")
_TESTS: Final = re.compile(r"(^|/)tests/")
_STARTS_TASKS: Final = re.compile(r"^libs/(runtime|embedded|testing)/|(^|/)tests/|^tools/")

_MENTION: Final = re.compile(r"\b[Rr][Ff][Cc][ -]?(?P<number>\d{3,5})\b(?P<rest>[^\n]{0,24})")
_SECTION: Final = re.compile(r" s(?P<section>(?:\d+|[A-Z])(?:\.\d+)*)")
_OTHER_SECTION: Final = re.compile(r",? ?(?:§|[Ss]ec(?:tion|t?\.)|[Aa]ppendix)")


@dataclass(frozen=True, slots=True)
class Breach:
    """One place that breaks a rule."""

    path: str
    line: int
    rule: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}"


def load_sections() -> dict[str, frozenset[str]]:
    """The known RFCs and the sections of each."""
    index: dict[str, str] = json.loads((_ROOT / "tools/rfc_sections.json").read_text())
    return {number: frozenset(names.split()) for number, names in index.items()}


def references(path: str, text: str, sections: dict[str, frozenset[str]]) -> Iterator[Breach]:
    """RFC references that have another form than ours, or lead nowhere."""
    for number, line in enumerate(text.splitlines(), 1):
        for mention in _MENTION.finditer(line):
            if (rule := _wrong_reference(mention, sections)) is not None:
                yield Breach(path, number, rule)


def _wrong_reference(mention: re.Match[str], sections: dict[str, frozenset[str]]) -> str | None:
    number, rest = mention["number"], mention["rest"]
    if mention[0][:3] == "rfc" or number in {"822", "2822"}:
        return None  # an identifier, a media type, or IMAP's RFC822
    if not mention[0].startswith(f"RFC {number}") or _OTHER_SECTION.match(rest):
        return f"write `RFC {number}` or `RFC {number} s<section>`"
    section = _SECTION.match(rest)
    if section is not None and number in sections and section["section"] not in sections[number]:
        return f"RFC {number} has no section {section['section']}"
    return None


def sizes(path: str, text: str, tree: ast.Module) -> Iterator[Breach]:
    """Modules and functions that are too long to be one thing."""
    lines = text.splitlines()
    is_test = _TESTS.search(path) is not None
    most = MAX_TEST_MODULE_LINES if is_test else MAX_MODULE_LINES
    if len(lines) > most:
        yield Breach(path, len(lines), f"module of {len(lines)} lines, at most {most}")
    most = MAX_TEST_FUNCTION_LINES if is_test else MAX_FUNCTION_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = _code_lines(node, lines)
            if count > most:
                yield Breach(path, node.lineno, f"{node.name} has {count} lines of code, at most {most}")


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    if not body:
        return 0
    block = lines[body[0].lineno - 1 : function.end_lineno]
    return sum(1 for line in block if line.strip() and not line.lstrip().startswith("#"))


def environment(path: str, tree: ast.Module) -> Iterator[Breach]:
    """Reads of the environment outside the places that may; to set a library's variable is no read."""
    if _READS_ENVIRONMENT.search(path):
        return
    written = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "setdefault"
    }
    for node in ast.walk(tree):
        if id(node) in written:
            continue
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb" | "getenv" as name):
                yield Breach(path, node.lineno, f"os.{name}: only settings read the environment")
            case ast.ImportFrom(module="os", names=names):
                for alias in names:
                    if alias.name in {"environ", "environb", "getenv"}:
                        yield Breach(
                            path, node.lineno, f"os.{alias.name}: only settings read the environment"
                        )
            case _:
                pass


def tasks(path: str, tree: ast.Module) -> Iterator[Breach]:
    """Tasks that nobody ends: not in a `TaskGroup`, nor under a name that is cancelled or awaited."""
    if _STARTS_TASKS.search(path):
        return
    ended = _ended(tree)
    owned = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and _targets(node) & ended
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _starts_a_task(node) and id(node) not in owned:
            yield Breach(
                path, node.lineno, "nobody ends this task: use a TaskGroup, or cancel or await it by name"
            )


def _starts_a_task(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id=owner), attr="create_task" | "ensure_future"):
            return owner == "asyncio" or owner.endswith("loop")
        case ast.Attribute(value=ast.Call(), attr="create_task"):
            return True
        case _:
            return False


def _name(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return None


def _targets(node: ast.Assign | ast.AnnAssign | ast.NamedExpr) -> set[str | None]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {_name(target) for target in targets} - {None}


def _ended(tree: ast.Module) -> set[str | None]:
    """The names of what is cancelled or awaited somewhere in the module."""
    names: set[str | None] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=value, attr="cancel") | ast.Await(value=value):
                names.add(_name(value))
            case _:
                pass
    return names


def clocks(path: str, tree: ast.Module) -> Iterator[Breach]:
    """Wire code that asks what time it is, which import contracts cannot see."""
    if not _PURE.search(path):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="datetime" | "date"), attr="now" | "utcnow" | "today"):
                yield Breach(path, node.lineno, "wire code has no clock: let the caller pass the instant")
            case _:
                pass


def check_python(path: str, text: str) -> Iterator[Breach]:
    """All breaches of the rules that read syntax."""
    tree = ast.parse(text, path)
    yield from sizes(path, text, tree)
    yield from environment(path, tree)
    yield from tasks(path, tree)
    yield from clocks(path, tree)


def _files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.py", "*.proto", "*.sql"],
        cwd=_ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [
        name
        for name in listed.stdout.splitlines()
        if not name.startswith(_GENERATED) and (_ROOT / name).is_file()
    ]


def main() -> int:
    """Check every file that git knows or would add."""
    sections = load_sections()
    breaches: list[Breach] = []
    for name in _files():
        text = (_ROOT / name).read_text("utf-8")
        breaches.extend(references(name, text, sections))
        if name.endswith(".py"):
            breaches.extend(check_python(name, text))
    for breach in breaches:
        sys.stdout.write(f"{breach}\n")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
