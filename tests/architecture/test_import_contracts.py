"""The import contracts refuse what the architecture refuses: shown on a copy with one breach in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"

_POINT_DOWN = "Imports point down"
BREACHES = [
    ("postroom_wire", "import postroom_runtime", _POINT_DOWN),
    ("postroom_contracts", "import postroom_runtime", _POINT_DOWN),
    ("postroom_runtime", "import postroom_storage", _POINT_DOWN),
    ("directory", "import mailstore", _POINT_DOWN),
    ("mailstore", "import postroom_embedded", _POINT_DOWN),
    ("mail_access", "import postroom_testing", _POINT_DOWN),
    ("postroom_embedded", "import mailstore", "Services are started as processes"),
    ("smtp_inbound", "import postroom_storage", "The edge holds nothing"),
    ("webmail_api", "import sqlalchemy", "The edge holds nothing"),
    ("postroom_wire", "import asyncio", "Wire code is pure"),
    ("postroom_wire", "from time import monotonic", "Wire code is pure"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every package of ours in one folder, free to be changed."""
    folder = tmp_path_factory.mktemp("tree")
    for source in [*_ROOT.glob("libs/*/src/*"), *_ROOT.glob("services/*/src/*")]:
        if source.is_dir() and not source.name.endswith(".egg-info"):
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [_LINT_IMPORTS, "--no-cache", "--no-logo", "--config", str(_ROOT / "pyproject.toml")],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("package", "line", "contract"), BREACHES)
def test_a_forbidden_import_breaks_its_contract(tree: Path, package: str, line: str, contract: str) -> None:
    breach = tree / package / "breach_of_contract.py"
    breach.write_text(f"{line}\n")
    try:
        result = lint(tree)
    finally:
        breach.unlink()
    assert result.returncode == 1, result.stdout + result.stderr
    [verdict] = [
        text for text in result.stdout.splitlines() if text.startswith(contract) and "BROKEN" in text
    ]
    assert verdict
    assert f"{package}.breach_of_contract" in result.stdout
