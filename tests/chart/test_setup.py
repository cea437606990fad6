"""What values declare reaches the Job that makes it, as directory reads it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from directory.declarations import read_declared
from directory.settings import SetupSettings
from postroom_runtime.settings import load_settings
from postroom_testing.chart import CHART, Helm, HelmError, Manifest, Rendering, realise

Render = Callable[[str], Rendering]
VALUES: dict[str, Any] = {
    "domains": ["example.org"],
    "accounts": [
        {"address": "ann@example.org", "name": "Ann", "passwordSecret": {"name": "first", "key": "ann"}},
        {"address": "bob@example.org", "passwordSecret": {"name": "first", "key": "ann"}},
        {"address": "cy@example.org", "passwordSecret": {"name": "cy"}},
        {"address": "dee@example.org"},
    ],
    "aliases": [{"address": "info@example.org", "targets": ["ann@example.org"]}],
    "secrets": ["more-accounts"],
}
GIVEN = {
    "first": {"ann": b"correct horse battery\n"},
    "cy": {"password": b"staple"},
    "more-accounts": {"accounts.json": b'{"accounts": [{"address": "ed@example.org", "password": "horse"}]}'},
}


@pytest.fixture(scope="module")
def declaring(helm: Helm) -> Rendering:
    """The chart with something declared."""
    return helm.template({"setup": {**VALUES, "driftSchedule": "17 5 * * *"}})


def _job(rendering: Rendering) -> Manifest:
    (job,) = (each for each in rendering.of_kind("Job") if "-declare-" in each["metadata"]["name"])
    return job


def test_directory_reads_what_values_declare(
    declaring: Rendering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = _job(declaring)["spec"]["template"]
    for name, value in realise(declaring, pod, GIVEN, tmp_path).items():
        # A list of folders, which only begins like a path.
        monkeypatch.setenv(name, value.replace(",/etc", f",{tmp_path}/etc"))
    settings = load_settings(SetupSettings)
    declared = read_declared(map(Path, settings.declarations))
    assert declared.domains == ("example.org",)
    assert [alias.targets for alias in declared.aliases or ()] == [("ann@example.org",)]
    accounts = {each.address: each for each in declared.accounts or ()}
    assert accounts["ann@example.org"].name == "Ann"
    assert accounts["dee@example.org"].first_password() is None
    assert accounts["ed@example.org"].first_password() == "horse"
    for address, secret in (("ann", "first/ann"), ("bob", "first/ann"), ("cy", "cy/password")):
        file = accounts[f"{address}@example.org"].password_file
        assert file == Path("/etc/postroom/passwords", secret)
        assert (tmp_path / "etc/postroom/passwords" / secret).is_file()


def test_it_runs_as_itself_with_nothing_of_the_database(declaring: Rendering) -> None:
    pod = _job(declaring)["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    serving = declaring.get("Deployment", "postroom-directory")["spec"]["template"]["spec"]
    assert (container["image"], container["args"]) == (serving["containers"][0]["image"], ["declare"])
    assert pod["spec"]["serviceAccountName"] == "postroom-setup"
    assert declaring.secret("postroom-setup-grpc").keys() == {"ca.crt", "tls.crt", "tls.key"}
    assert "postgres" not in json.dumps(pod)
    assert "passwords" not in json.dumps(declaring.get("ConfigMap", "postroom-setup")["data"]).replace(
        "/etc/postroom/passwords/", ""
    )


def test_a_job_is_tried_again_only_while_directory_is_away(declaring: Rendering) -> None:
    specification = _job(declaring)["spec"]
    assert specification["template"]["spec"]["restartPolicy"] == "Never"
    (rule,) = specification["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [1, 2])


def test_the_drift_is_looked_at_when_values_say_so(declaring: Rendering, helm: Helm) -> None:
    (cron,) = declaring.of_kind("CronJob")
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]
    made = _job(declaring)["spec"]["template"]
    assert cron["spec"]["schedule"] == "17 5 * * *"
    ours, theirs = (each["spec"]["containers"][0] for each in (pod, made))
    assert {**ours, "args": None} == {**theirs, "args": None}
    assert ours["args"] == ["drift"]
    assert helm.template({"setup": {"domains": ["example.org"]}}).of_kind("CronJob") == []


def test_what_is_declared_otherwise_is_another_job(declaring: Rendering, helm: Helm) -> None:
    same = helm.template({"setup": VALUES})
    other = helm.template({"setup": {**VALUES, "domains": ["example.org", "example.net"]}})
    names = [_job(each)["metadata"]["name"] for each in (declaring, same, other)]
    assert names[0] == names[1] != names[2]


def test_without_anything_declared_nothing_of_it_is_there(render: Render) -> None:
    rendering = render("bundled")
    assert not any("setup" in each["metadata"]["name"] for each in rendering.manifests)


def test_only_some_of_it_may_be_declared(helm: Helm, render: Render) -> None:
    rendering = helm.template({"setup": {"configMaps": ["more"]}})
    data = rendering.get("ConfigMap", "postroom-setup")["data"]
    assert json.loads(data["declared.json"]) == {}
    gitops = render("gitops")
    names = {volume["name"] for volume in _job(gitops)["spec"]["template"]["spec"]["volumes"]}
    assert names == {"tmp", "grpc", "secrets", "declared"}


WRONG: list[dict[str, Any]] = [
    {"domains": ["@example.org"]},
    {"domains": "example.org"},
    {"accounts": [{"name": "Ann"}]},
    {"accounts": [{"address": "ann@example.org", "password": "plain in values"}]},
    {"accounts": [{"address": "ann@example.org", "passwordSecret": {"key": "x"}}]},
    {"aliases": [{"address": "info@example.org", "targets": []}]},
    {"configMaps": ["Not_A_Name"]},
    {"driftSchedule": "daily"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_the_schema_refuses(helm: Helm, wrong: dict[str, Any]) -> None:
    with pytest.raises(HelmError, match="specifications of the schema"):
        helm.template({"setup": wrong})


def test_its_certificate_is_wanted_where_the_chart_makes_none(helm: Helm) -> None:
    names = (
        "directory", "mailstore", "filestore", "smtp-inbound", "smtp-outbound", "mail-access", "ftp-gateway",
        "webmail-api",
    )  # fmt: skip
    values = {
        "internalTls": {"mode": "existingSecrets", "existingSecrets": dict.fromkeys(names, "x")},
        "setup": {"domains": ["example.org"]},
    }
    with pytest.raises(HelmError, match=r"internalTls\.existingSecrets\.setup"):
        helm.template(values)


def test_names_are_short_enough_for_kubernetes_whatever_the_release_is_called(helm: Helm) -> None:
    rendering = helm.template(
        {"setup": {"domains": ["example.org"], "driftSchedule": "@daily"}},
        release=f"a{'b' * 52}",
    )
    for manifest in rendering.manifests:
        name = manifest["metadata"]["name"]
        # Revision 9999 of a Job; the pods' own ends of a StatefulSet and of a CronJob.
        room = {"Job": 3, "StatefulSet": 11, "CronJob": 11}.get(manifest["kind"], 0)
        assert len(name) + room <= 63, name


def test_the_notes_say_where_it_is_told(helm: Helm) -> None:
    def notes(*options: str) -> str:
        return helm.run("install", "postroom", str(CHART), "--dry-run=client", *options)

    words = "kubectl --namespace default logs --selector app.kubernetes.io/component=setup-declare"
    assert words in notes("--set", "setup.domains={a.example}")
    assert words not in notes()
