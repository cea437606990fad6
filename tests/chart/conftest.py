"""Helm's programs, and the chart rendered for every scenario."""

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from postroom_testing.chart import CHART, Helm, Rendering

SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))


def _find(name: str) -> Helm:
    """The program that `make test-tools` fetched; skips the test where there is none."""
    fetched = CHART.parents[2] / "build/helm" / name
    if fetched.exists():
        return Helm(fetched)
    if name == "helm" and (found := shutil.which(name)):
        return Helm(Path(found))
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not here; `make test-tools` fetches it")
    pytest.skip(f"{name} is not here; `make test` fetches it")


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Helm 4."""
    return _find("helm")


@pytest.fixture(scope="session")
def helm3() -> Helm:
    """Helm 3."""
    return _find("helm3")


@pytest.fixture(scope="session")
def render(helm: Helm) -> Callable[[str], Rendering]:
    """A scenario by its name, rendered once."""

    @cache
    def rendered(scenario: str) -> Rendering:
        return helm.template(files=[CHART / "ci" / f"{scenario}-values.yaml"])

    return rendered


@pytest.fixture(params=[file.name.removesuffix("-values.yaml") for file in SCENARIOS])
def scenario(request: pytest.FixtureRequest) -> str:
    """Every scenario in turn."""
    return str(request.param)


@pytest.fixture
def rendering(scenario: str, render: Callable[[str], Rendering]) -> Rendering:
    """What a scenario comes to."""
    return render(scenario)
