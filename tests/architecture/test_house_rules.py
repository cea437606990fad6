"""The small rules find what they are for, and let pass what is right."""

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

_TOOL = Path(__file__).resolve().parents[2] / "tools/house_rules.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("house_rules", _TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


house_rules = _load()


def python(text: str, path: str = "services/mailstore/src/mailstore/lanes.py") -> list[str]:
    breaches: Iterable[object] = house_rules.check_python(path, text)
    return [str(breach) for breach in breaches]


def references(text: str) -> list[str]:
    breaches: Iterable[object] = house_rules.references("a.py", text, house_rules.load_sections())
    return [str(breach) for breach in breaches]


@pytest.mark.parametrize(
    "text",
    [
        "# RFC 5321 s4.5.3.2.7",
        "# RFC 3464",
        '"""SMTP (RFC 5321, RFC 3207 s4.2)."""',
        'b"RFC822.SIZE"',
        "message/rfc822",
    ],
)
def test_a_reference_in_our_form_passes(text: str) -> None:
    assert references(text) == []


@pytest.mark.parametrize(
    "text",
    ["# {}5321", "# {} 5321 section 4.1", "# {} 5321, Section 4", "# {} 5321 §4", "# {}-5321"],
)
def test_a_reference_in_another_form_is_found(text: str) -> None:
    # Put together here, for this file is checked too.
    assert references(text.format("RFC")) == ["a.py:1: write `RFC 5321` or `RFC 5321 s<section>`"]


def test_a_section_that_does_not_exist_is_found() -> None:
    assert references(f"x = 1\n# {'RFC'} 5321 s4.9.9") == ["a.py:2: RFC 5321 has no section 4.9.9"]


def test_a_section_of_an_rfc_that_is_not_indexed_is_believed() -> None:
    assert references("# RFC 793 s3.1") == []


@pytest.mark.parametrize(
    "text", ["import os\nx = os.environ['A']", "import os\nos.getenv('A')", "from os import environ"]
)
def test_the_environment_is_read_in_settings_only(text: str) -> None:
    assert len(python(text)) == 1
    assert python(text, "services/mailstore/src/mailstore/settings.py") == []
    assert python(text, "libs/embedded/src/postroom_embedded/launch.py") == []


@pytest.mark.parametrize(
    "call",
    [
        "asyncio.create_task(work())",
        "loop.create_task(work())",
        "asyncio.get_running_loop().create_task(work())",
    ],
)
def test_a_task_that_nobody_ends_is_found_outside_the_runtime(call: str) -> None:
    assert len(python(call)) == 1
    assert python(call, "libs/runtime/src/postroom_runtime/drain.py") == []


@pytest.mark.parametrize(
    "text",
    [
        "async def f(group):\n    group.create_task(work())",
        "async def f():\n    task = asyncio.create_task(work())\n    await task",
        "def f(self):\n    self._task = asyncio.create_task(work())\ndef g(self):\n    self._task.cancel()",
    ],
)
def test_a_task_that_somebody_ends_passes(text: str) -> None:
    assert python(text) == []


def test_setting_a_librarys_variable_is_no_read_of_the_environment() -> None:
    assert python("import os\nos.environ.setdefault('GRPC_VERBOSITY', 'NONE')") == []


@pytest.mark.parametrize("call", ["datetime.now(UTC)", "date.today()"])
def test_wire_code_that_has_a_clock_is_found(call: str) -> None:
    assert len(python(call, "libs/wire/src/postroom_wire/imap/dates.py")) == 1
    assert python(call) == []


def test_a_long_module_is_found() -> None:
    assert python("x = 1\n" * 400) == []
    assert len(python("x = 1\n" * 401)) == 1
    assert python("x = 1\n" * 401, "libs/wire/tests/test_transcripts.py") == []


def test_a_long_function_is_found_and_its_words_do_not_count() -> None:
    docstring = '    """Words.\n' + "    more\n" * 50 + '    """\n'
    assert python("def f():\n" + docstring + "    x = 1\n" * 40) == []
    assert len(python("def f():\n" + docstring + "    x = 1\n" * 41)) == 1
