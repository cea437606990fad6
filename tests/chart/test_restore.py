"""What the chart does for backups and restores."""

from typing import Any

from postroom_testing.chart import CHART, Helm

_CNPG = CHART / "ci" / "cnpg-gateway-values.yaml"


def test_a_cluster_of_cloudnativepg_is_backed_up_and_begins_with_a_backup_by_values(helm: Helm) -> None:
    plugin = {"name": "barman-cloud.cloudnative-pg.io", "parameters": {"barmanObjectName": "backups"}}
    recovery = {"source": "before", "recoveryTarget": {"targetName": "before-the-fire"}}
    spec = {
        "plugins": [plugin | {"isWALArchiver": True}],
        "bootstrap": {"recovery": recovery},
        "externalClusters": [{"name": "before", "plugin": plugin}],
    }
    rendering = helm.template({"postgres": {"cnpg": {"spec": spec}}}, files=[_CNPG])
    (cluster,) = rendering.of_kind("Cluster")
    found: dict[str, Any] = cluster["spec"]
    assert {name: found[name] for name in spec} == spec, "it begins in one way only"
    (ours,) = helm.template(files=[_CNPG]).of_kind("Cluster")
    assert list(ours["spec"]["bootstrap"]) == ["initdb"]
    assert found["managed"] == ours["spec"]["managed"], "roles have the passwords of our Secrets"


def test_everything_but_the_bundled_parts_can_be_stopped_for_a_restore(helm: Helm) -> None:
    services = (
        "directory",
        "mailstore",
        "filestore",
        "smtp-inbound",
        "smtp-outbound",
        "mail-access",
        "ftp-gateway",
        "webmail-api",
    )
    rendering = helm.template({"services": {name: {"replicas": 0} for name in services}})
    assert {each["spec"]["replicas"] for each in rendering.of_kind("Deployment")} == {0}
    assert {each["spec"]["replicas"] for each in rendering.of_kind("StatefulSet")} == {1}
