"""What the chart refuses, and with which words."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest
import yaml

from postroom_testing.chart import CHART, Helm, HelmError, Manifest


def _nested(path: str, value: Any) -> dict[str, Any]:
    """`{"a": {"b": value}}` of `a/b`."""
    for key in reversed(path.split("/")):
        value = {key: value}
    return value


# What no schema may let pass: a path, and a value that is wrong there.
WRONG: list[tuple[str, Any]] = [
    ("hostnam", "mail.example.org"),
    ("image/repo", "postroom"),
    ("services/smtp_inbound", {}),
    ("services/smtp-inbound/replica", 3),
    ("services/smtp-inbound/replicas", "3"),
    ("services/smtp-inbound/drainSeconds", 601),
    ("services/smtp-inbound/keda", {"enabled": True}),
    ("services/smtp-inbound/settings/max_connection", 5),
    ("services/smtp-inbound/settings/max_connections", 0),
    ("services/smtp-inbound/settings/hostname", "mail.example.org"),
    ("services/mail-access/ftp", {}),
    ("services/mail-access/service/ports/smtp", "25"),
    ("services/mail-access/proxyProtocol", ["imaps", "imaps"]),
    ("services/ftp-gateway/ftp/mode", "many"),
    ("services/ftp-gateway/ftp/passive/count", 1000),
    ("services/webmail-api/extraEnv", [{"value": "x"}]),
    ("defaults/autoscaling/min", 2),
    ("postgres/mode", "bundle"),
    ("postgres/roles/webmail-api/existingSecret", "x"),
    ("postgres/bundled/image/digest", "sha256:12"),
    ("postgres/bundled/persistence/size", "10 GB"),
    ("postgres/database", "post-room"),
    ("objectStore/bundled/kind", "ceph"),
    ("networkPolicy/privateRanges", ["10.0.0.0"]),
    ("exposure/externalTrafficPolicy", "local"),
    ("exposure/trustedProxies", "10.0.0.0/8"),
    ("tls/mode", "letsencrypt"),
    ("tls/certManager/duration", "90d"),
    ("tls/clientCertificates/services", ["webmail-api"]),
    ("tls/clientCertificates/services", []),
    ("networkPolicy/issuer/cidrs", ["id.example.org"]),
    ("gateway/tls", ["imap"]),
    ("logLevel", "verbose"),
]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=[path for path, _ in WRONG])
def test_the_schema_refuses(helm: Helm, path: str, value: Any) -> None:
    with pytest.raises(HelmError, match=r"(?s)values don't meet the specifications of the schema"):
        helm.template(_nested(path, value))


def test_helm_3_knows_the_schema_too(helm3: Helm) -> None:
    with pytest.raises(HelmError, match="hostnam"):
        helm3.template({"hostnam": "mail.example.org"})


_MINIO = {"mode": "external", "existingSecret": "keys", "external": {"endpoint": "s3.example.org"}}

# Values that go together badly, and what is said of them.
BAD: dict[str, dict[str, Any]] = {
    "services.ftp-gateway: only one replica": {"services": {"ftp-gateway": {"replicas": 2}}},
    "the control connection and the data connections": {
        "services": {"ftp-gateway": {"autoscaling": {"enabled": True}}}
    },
    **{
        f"services.ftp-gateway.ftp.mode: {mode} is not possible yet: it comes with a later version": {
            "services": {"ftp-gateway": {"ftp": {"mode": mode}}}
        }
        for mode in ("relay", "sharded", "hostNetwork")
    },
    "services.directory.enabled: nothing works without it": {"services": {"directory": {"enabled": False}}},
    "services.smtp-outbound: autoscaling and keda": {
        "services": {"smtp-outbound": {"autoscaling": {"enabled": True}, "keda": {"enabled": True}}}
    },
    "keda.prometheusAddress": {
        "services": {"smtp-outbound": {"keda": {"enabled": True, "trigger": "prometheus"}}}
    },
    "services.mail-access.autoscaling: minReplicas": {
        "services": {"mail-access": {"autoscaling": {"enabled": True, "minReplicas": 20}}}
    },
    "postgres.roles.directory.existingSecret": {"postgres": {"mode": "external"}},
    "synchronousStandbys have to be fewer": {"postgres": {"mode": "cnpg", "cnpg": {"instances": 1}}},
    "nats.existingSecret": {"nats": {"mode": "external"}},
    "objectStore.existingSecret": {"objectStore": {"mode": "external"}},
    "objectStore.external.endpoint": {"objectStore": _MINIO},
    "services.mail-access.settings.sasl_mechanisms: EXTERNAL": {
        "services": {"mail-access": {"settings": {"sasl_mechanisms": "PLAIN, external"}}}
    },
    "services.smtp-inbound.settings.sasl_mechanisms: EXTERNAL": {
        "services": {"smtp-inbound": {"settings": {"sasl_mechanisms": "EXTERNAL"}}},
        "tls": {"clientCertificates": {"existingSecret": "people", "services": ["mail-access"]}},
    },
    "tls.existingSecret": {"tls": {"mode": "existingSecret"}},
    "tls.certManager.issuerRef": {"tls": {"mode": "certManager"}},
    "internalTls.existingSecrets.directory": {"internalTls": {"mode": "existingSecrets"}},
    "admin.existingSecret: the chart makes no secrets": {"secrets": {"generate": False}},
    "exposure.trustedProxies": {"services": {"smtp-inbound": {"proxyProtocol": ["smtp"]}}},
    "services.smtp-inbound.proxyProtocol: it has no listener imap": {
        "services": {"smtp-inbound": {"proxyProtocol": ["imap"]}},
        "exposure": {"trustedProxies": ["192.0.2.0/24"]},
    },
    "services.smtp-inbound.extraEnv: POSTROOM_LOG_LEVEL is there already": {
        "services": {"smtp-inbound": {"extraEnv": [{"name": "POSTROOM_LOG_LEVEL", "value": "debug"}]}}
    },
    "gateway.parentRefs": {"gateway": {"enabled": True}},
    "ingress.backend: logins in plain HTTP are refused": {"ingress": {"enabled": True, "backend": "http"}},
    "ingress.backend: the listener https of webmail-api is left out": {
        "ingress": {"enabled": True},
        "services": {"webmail-api": {"service": {"ports": {"https": 0}}}},
    },
}


@pytest.mark.parametrize("words", BAD)
def test_values_that_go_together_badly_are_named(helm: Helm, words: str) -> None:
    with pytest.raises(HelmError) as refused:
        helm.template(BAD[words])
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("no CloudNativePG", {"postgres": {"mode": "cnpg"}}),
        ("no cert-manager", {"internalTls": {"mode": "certManager"}}),
        ("no TCPRoute", {"gateway": {"enabled": True, "parentRefs": [{"name": "g"}], "tcp": ["smtp"]}}),
    ],
)
def test_apis_that_a_cluster_does_not_have_are_named(
    helm: Helm, words: str, values: Mapping[str, Any]
) -> None:
    with pytest.raises(HelmError, match=words):
        helm.template(values, extensions=())


def test_an_old_kubernetes_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"kubeVersion: >=1\.30"):
        helm.template(kubernetes="1.29.0")


def _paths(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every mapping with keys of its own."""
    if isinstance(value, dict) and value:
        yield path
        for key, each in cast("dict[str, object]", value).items():
            yield from _paths(each, (*path, key))


def _free(path: tuple[str, ...]) -> bool:
    """Mappings whose keys are Kubernetes' or the user's."""
    names = {"behavior", "requests", "limits", "namespaceSelector", "podSelector", "labels", "scaleDown"}
    return bool(names & set(path))


def _with_a_key_more(value: object, path: tuple[str, ...]) -> object:
    """The value with a key in every mapping that nothing knows."""
    if not isinstance(value, dict) or not value or _free(path):
        return cast(object, value)
    mapping = cast("dict[str, object]", value)
    more = {key: _with_a_key_more(each, (*path, key)) for key, each in mapping.items()}
    return {**more, "unheardOf": 1}


def test_no_mapping_takes_a_key_that_it_does_not_know(helm: Helm) -> None:
    values: Manifest = yaml.safe_load((CHART / "values.yaml").read_text())
    wanted = ["/".join(path) for path in _paths(values) if not _free(path)]
    with pytest.raises(HelmError) as refused:
        helm.template(cast("dict[str, Any]", _with_a_key_more(values, ())))
    found = re.findall(r"at '/?([^']*)': additional properties 'unheardOf' not allowed", str(refused.value))
    assert sorted(found) == sorted(wanted)


def test_what_defaults_say_a_service_may_say_otherwise(helm: Helm) -> None:
    values = {
        "defaults": {"replicas": 3, "podAnnotations": {"a": "1"}, "settings": {}},
        "services": {"mail-access": {"replicas": 5, "podAnnotations": {"b": "2"}}},
    }
    del values["defaults"]["settings"]
    rendering = helm.template({**values, "services": {**values["services"], "ftp-gateway": {"replicas": 1}}})
    mail, web = (rendering.get("Deployment", f"postroom-{name}") for name in ("mail-access", "webmail-api"))
    assert (mail["spec"]["replicas"], web["spec"]["replicas"]) == (5, 3)
    assert mail["spec"]["template"]["metadata"]["annotations"] == {"a": "1", "b": "2"}


def test_the_notes_warn_of_what_is_for_trials_only(helm: Helm) -> None:
    def notes(*options: str) -> str:
        text = helm.run("install", "postroom", str(CHART), "--dry-run=client", "--namespace=mail", *options)
        return text.partition("NOTES:")[2]

    trial = notes()
    assert "self-signed" in trial
    assert "Postgres is the bundled one" in trial
    assert "kubectl --namespace mail get secret postroom-admin" in trial
    assert "MX     10 mail.postroom.test." in trial
    grown = notes(f"--values={CHART / 'ci' / 'gitops-values.yaml'}", "--set", "hostname=mail.example.org")
    assert "self-signed" not in grown
    assert "get secret first-admin" in grown
    assert "MinIO's project is archived" in notes("--set", "objectStore.bundled.kind=minio")
    assert "lost with a pod" in notes("--set", "postgres.bundled.persistence.enabled=false")
