"""What is written about the chart is true: README, schema, alerts, runbooks, dashboards."""

import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import yaml

from postroom_testing.chart import CHART, Helm, Rendering

Render = Callable[[str], Rendering]
_ROOT = CHART.parent.parent.parent
_METRIC = re.compile(r"postroom_[a-z0-9_]+")
_MADE = re.compile(r'metrics\.(counter|gauge|histogram)\(\s*"([a-z0-9_]+)"')


def _tool() -> ModuleType:
    specification = importlib.util.spec_from_file_location("chart_docs", _ROOT / "tools/chart_docs.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_readme_and_schema_follow_the_values_and_the_settings() -> None:
    assert _tool().main(["--check"]) == 0, "run: make chart-docs"


def test_every_value_is_explained() -> None:
    module = _tool()
    text = (CHART / "values.yaml").read_text()
    explained = {each.path for each in module.documented_values(text)}
    values = yaml.safe_load(text)

    def leaves(value: object, path: str) -> Iterator[str]:
        if isinstance(value, dict) and value and path not in explained:
            for key, each in value.items():  # pyright: ignore[reportUnknownVariableType]
                yield from leaves(each, f"{path}.{key}".removeprefix("."))  # pyright: ignore[reportUnknownArgumentType]
        else:
            yield path

    assert [path for path in leaves(values, "") if path not in explained] == []


def _metrics() -> set[str]:
    """Every series that our code makes."""
    names: set[str] = set()
    for file in (*_ROOT.glob("libs/*/src/**/*.py"), *_ROOT.glob("services/*/src/**/*.py")):
        for kind, name in _MADE.findall(file.read_text()):
            endings = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
            names |= {f"postroom_{name}{ending}" for ending in endings}
    assert len(names) > 30
    return names


def test_alerts_and_dashboards_ask_for_metrics_that_exist(render: Render) -> None:
    rendering = render("external")
    (rule,) = rendering.of_kind("PrometheusRule")
    asked = {found for each in rule["spec"]["groups"][0]["rules"] for found in _METRIC.findall(each["expr"])}
    for file in (CHART / "files/dashboards").glob("*.json"):
        panels = json.loads(file.read_text())["panels"]
        asked |= {
            found
            for panel in panels
            for target in panel["targets"]
            for found in _METRIC.findall(target["expr"])
        }
    assert asked - _metrics() == set()
    assert len(asked) > 15


def test_operations_tell_of_every_metric() -> None:
    text = (_ROOT / "docs/operations.md").read_text()
    told = set(re.findall(r"^\| [\w -]+ \| `(postroom_\w+)` \|", text, re.MULTILINE))
    made = {re.sub("_(bucket|count|sum)$", "", name) for name in _metrics()}
    assert told == made


def test_scalers_ask_for_a_metric_that_exists(render: Render) -> None:
    made = _metrics()
    for scenario in ("external", "cnpg-gateway"):
        text = json.dumps(render(scenario).of_kind("HorizontalPodAutoscaler", "ScaledObject"))
        asked = set(_METRIC.findall(text))
        assert asked
        assert asked <= made


def test_every_alert_has_a_runbook_and_every_runbook_an_alert(render: Render) -> None:
    (rule,) = render("external").of_kind("PrometheusRule")
    alerts = {each["alert"]: each for each in rule["spec"]["groups"][0]["rules"]}
    pages = {file.stem for file in (_ROOT / "docs/runbooks").glob("Postroom*.md")}
    assert alerts.keys() == pages
    for name, alert in alerts.items():
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
        assert (_ROOT / f"docs/runbooks/{name}.md").read_text().startswith(f"# {name}\n")
        assert "NAMESPACE" not in alert["expr"]
        assert 'namespace="mail"' in alert["expr"]


def test_dashboards_come_whole(render: Render) -> None:
    rendering = render("external")
    data = rendering.get("ConfigMap", "postroom-dashboard-overview")
    assert data["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(data["data"]["overview.json"])["title"] == "Postroom"


def test_the_archive_holds_what_is_needed_and_no_more(helm: Helm, tmp_path: Path) -> None:
    import tarfile

    helm.run("package", str(CHART), f"--destination={tmp_path}")
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as archive:
        names = {name.removeprefix("postroom/") for name in archive.getnames()}
    assert {"Chart.yaml", "README.md", "values.schema.json", "files/postgres-start"} <= names
    assert not any(name.startswith("ci/") or name.endswith(".head") for name in names)
