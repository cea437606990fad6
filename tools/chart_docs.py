"""Writes what follows from the chart's values and from the services' settings: tools/chart_docs.py [--check]

- README.md: its head and a table of all values, from the comments `# --` of values.yaml;
- values.schema.json: what `services.<name>.settings` may hold, from the services' settings classes.

With --check nothing is written, and the exit status is 1 when something is out of date.
"""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, cast

from postroom_runtime.settings import ServiceSettings

Json: TypeAlias = dict[str, "Json | list[Json] | str | int | float | bool | None"]

CHART: Final = Path(__file__).resolve().parent.parent / "deploy/helm/postroom"
SERVICES: Final = (
    "directory",
    "mailstore",
    "filestore",
    "smtp-inbound",
    "smtp-outbound",
    "mail-access",
    "ftp-gateway",
    "webmail-api",
)

# What the chart says by itself, or from other values.
_OWNED: Final = frozenset(
    {
        "bucket",
        "drain_seconds",
        "grpc_listen",
        "health_address",
        "helo_name",
        "host",
        "hostname",
        "passive_address",
        "passive_ports",
        "port",
        "require_durable_database",
        "trusted_gateways",
        "trusted_proxies",
        "unready_seconds",
        "worker_name",
    }
)
_KEPT: Final = (
    "type",
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "minLength",
    "maxLength",
    "description",
)

_COMMENT: Final = re.compile(r"(?P<indent> *)# (?P<begin>-- )?(?P<text>.*)")
_KEY: Final = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z][\w-]*):(?: (?P<value>.*))?")


@dataclass(frozen=True, slots=True)
class Value:
    """One documented key of values.yaml."""

    path: str
    default: str
    text: str


def settings_class(service: str) -> type[ServiceSettings]:
    """The settings of a service."""
    module = importlib.import_module(f"{service.replace('-', '_')}.settings")
    return cast("type[ServiceSettings]", module.Settings)


def chart_settings(service: str) -> dict[str, Json]:
    """What `services.<service>.settings` may hold, each as a JSON schema."""
    cls = settings_class(service)
    documented = cast("dict[str, Json]", cls.model_json_schema(by_alias=False)["properties"])
    wanted = (
        name
        for name, field in cls.model_fields.items()
        if name not in _OWNED
        and field.validation_alias is None
        and (name == "remote_port" or not name.endswith("_port"))
        and "Secret" not in str(field.annotation)
    )
    return {name: _simple(documented[name]) for name in wanted}


def _simple(found: Json) -> Json:
    """A field's schema as its environment variable is written: lists have commas."""
    if isinstance(choices := found.get("anyOf"), list):
        description = {"description": found["description"]} if "description" in found else {}
        found = {**next(choice for choice in choices if choice.get("type") != "null"), **description}
    kept: Json = {key: found[key] for key in _KEPT if key in found}
    return {**kept, "type": "string"} if kept.get("type") == "array" else kept


def schema_text() -> str:
    """values.schema.json with the settings as they are now."""
    schema = cast("dict[str, dict[str, Json]]", json.loads((CHART / "values.schema.json").read_text()))
    for service in SERVICES:
        schema["definitions"][f"settings-{service}"] = {
            "type": "object",
            "additionalProperties": False,
            "properties": cast(Json, chart_settings(service)),
        }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def documented_values(text: str) -> Iterator[Value]:
    """Each key with a comment `# --` above it."""
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if (found := _COMMENT.fullmatch(line)) is not None:
            if found["begin"]:
                comment = [found["text"]]
            elif comment:
                comment.append(found["text"])
        elif (found := _KEY.fullmatch(line)) is not None:
            depth = len(found["indent"])
            path = [*(step for step in path if step[0] < depth), (depth, found["key"])]
            if comment:
                name = ".".join(key for _, key in path)
                yield Value(name, _default(found["value"], lines[number + 1 :], depth), " ".join(comment))
            comment = []
        else:
            comment = []


def _default(value: str | None, below: list[str], depth: int) -> str:
    if value:
        return value.partition(" #")[0]
    deeper = [line.strip() for line in _deeper(below, depth)]
    documented = any(line.startswith("# --") for line in deeper)
    return "" if documented or len(deeper) > 3 else " ".join(deeper)


def _deeper(below: list[str], depth: int) -> Iterator[str]:
    for line in below:
        if line.strip() and len(line) - len(line.lstrip()) <= depth:
            return
        if line.strip():
            yield line


def readme_text() -> str:
    """README.md: the head, then the values."""
    rows = [
        "| `{}` | {} | {} |".format(value.path, _cell(value.default), value.text.replace("|", "\\|"))
        for value in documented_values((CHART / "values.yaml").read_text())
    ]
    head = (CHART / "README.md.head").read_text().rstrip()
    return "\n".join((head, "", "| value | default | what it is |", "| --- | --- | --- |", *rows, ""))


def _cell(default: str) -> str:
    return f"`{default}`" if default else ""


def main(arguments: list[str]) -> int:
    """Write, or compare."""
    stale = 0
    for name, text in (("README.md", readme_text()), ("values.schema.json", schema_text())):
        file = CHART / name
        if not file.exists() or file.read_text() != text:
            if arguments == ["--check"]:
                stale = 1
                print(f"{file.relative_to(CHART.parent.parent.parent)} is out of date; run: make chart-docs")
            else:
                file.write_text(text)
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
