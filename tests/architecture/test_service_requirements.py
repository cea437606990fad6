"""What an image holds: the part of the lock that its service needs, and no more."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

_TOOL = Path(__file__).resolve().parents[2] / "tools/service_requirements.py"
_STORAGE = {"alembic", "asyncpg", "greenlet", "minio", "obstore", "sqlalchemy"}
_CORE = {"directory", "mailstore", "filestore"}

_LOCK = """\
driver==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via postroom-storage, postroom-storage (libs/storage/pyproject.toml)
helper==2.1 ; sys_platform == 'linux' \\
    --hash=sha256:cc
    # via driver, other
other==3.0 \\
    --hash=sha256:dd
    # via postroom-cli (services/postroom/pyproject.toml)

# The following packages were excluded from the output:
# setuptools
"""


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("service_requirements", _TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tool = _load()
MEMBERS = tool.read_members(tool.ROOT)
PINS = tool.read_lock((tool.ROOT / "requirements.lock").read_text())


def test_every_service_but_the_command_line_has_an_image() -> None:
    folders = {path.parent.name for path in tool.ROOT.glob("services/*/pyproject.toml")}
    assert {*tool.service_names(MEMBERS), "postroom"} == folders


@pytest.mark.parametrize("service", tool.service_names(MEMBERS))
def test_only_the_core_needs_drivers_of_databases_and_buckets(service: str) -> None:
    needed = set(tool.requirements(MEMBERS, PINS, service))
    assert needed & _STORAGE == (_STORAGE if service in _CORE else set())
    assert {"grpcio", "pydantic-core", "uvloop", "cryptography"} <= needed


@pytest.mark.parametrize("service", tool.service_names(MEMBERS))
def test_no_service_needs_another_one_or_what_is_for_tests_and_trials(service: str) -> None:
    others = {"postroom-cli", "postroom-embedded", "postroom-testing"}
    ours = {name for name in tool.member_closure(MEMBERS, service) if "services/" in MEMBERS[name].folder}
    assert [MEMBERS[name].folder for name in ours] == [f"services/{service}"]
    assert not others & set(tool.member_closure(MEMBERS, service))


def test_skaffold_builds_every_image_and_gives_it_to_the_chart() -> None:
    config = yaml.safe_load((tool.ROOT / "skaffold.yaml").read_text())
    (release,) = config["deploy"]["helm"]["releases"]
    built = {artifact["image"]: artifact["docker"] for artifact in config["build"]["artifacts"]}
    services = tool.service_names(MEMBERS)
    assert {image: docker["buildArgs"] for image, docker in built.items()} == {
        f"postroom/{service}": {"SERVICE": service} for service in services
    }
    assert all((tool.ROOT / docker["dockerfile"]).is_file() for docker in built.values())
    # Skaffold writes `_` for what a template's name cannot have.
    assert release["setValueTemplates"] == {
        f"services.{service}.image.{key}": f"{{{{.IMAGE_{variable}_postroom_{service.replace('-', '_')}}}}}"
        for service in services
        for key, variable in (("repository", "REPO"), ("tag", "TAG"))
    }


def test_a_package_comes_with_what_it_needs_and_with_its_hashes() -> None:
    pins = tool.read_lock(_LOCK)
    assert tool.lock_closure(pins, ["driver"]) == ["driver", "helper"]
    assert pins["driver"].text == "driver==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb"
    assert pins["helper"].text == "helper==2.1 ; sys_platform == 'linux' \\\n    --hash=sha256:cc"


@pytest.mark.parametrize(("part", "package"), tool.BUNDLED.items())
def test_a_bundled_part_is_the_locked_package_of_its_programs_and_no_other(part: str, package: str) -> None:
    def ask(question: str) -> str:
        return subprocess.check_output([sys.executable, str(_TOOL), question, part], text=True).strip()

    assert ask("requirements").startswith(f"{package}=={ask('version')} ")
    assert "--hash=sha256:" in ask("requirements")
    assert ask("description") == f"{package} {ask('version')}"
    assert ask("members") == ""


def test_a_lock_that_does_not_say_who_wants_a_package_is_refused() -> None:
    bare = "\n".join(line for line in _LOCK.splitlines() if "via postroom-storage" not in line)
    with pytest.raises(tool.UnknownError, match=r"does not say who wants 'driver==1.0"):
        tool.read_lock(bare)


def test_a_package_that_is_not_locked_is_refused() -> None:
    with pytest.raises(tool.UnknownError, match="newcomer is not in the lock"):
        tool.lock_closure(tool.read_lock(_LOCK), ["newcomer"])


@pytest.mark.parametrize(
    "words", [["requirements", "postroom"], ["version", "nothing"], ["version"], ["what"]]
)
def test_a_question_without_an_answer_ends_with_status_2(words: list[str]) -> None:
    ran = subprocess.run([sys.executable, str(_TOOL), *words], capture_output=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert ran.stderr
    assert b"Traceback" not in ran.stderr
