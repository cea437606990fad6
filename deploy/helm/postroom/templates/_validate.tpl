{{/* What a schema cannot say: combinations of values that do not work. */}}
{{- define "postroom.validate" -}}
{{- $values := .Values -}}
{{- $services := include "postroom.services" . | fromYaml -}}
{{- range $core := list "directory" "mailstore" "filestore" -}}
{{- if not (hasKey $services $core) -}}
{{- fail (printf "services.%s.enabled: nothing works without it" $core) -}}
{{- end -}}
{{- if and (eq $values.postgres.mode "external") (not (index $values.postgres.roles $core).existingSecret) -}}
{{- fail (printf "postgres.roles.%s.existingSecret: a Secret with the URL of an external Postgres is wanted" $core) -}}
{{- end -}}
{{- end -}}
{{- range $name, $service := $services -}}
{{- if and $service.values.autoscaling.enabled (dig "keda" "enabled" false $service.values) -}}
{{- fail (printf "services.%s: autoscaling and keda would both scale it; enable one" $name) -}}
{{- end -}}
{{- if and $service.values.autoscaling.enabled (gt (int $service.values.autoscaling.minReplicas) (int $service.values.autoscaling.maxReplicas)) -}}
{{- fail (printf "services.%s.autoscaling: minReplicas is more than maxReplicas" $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $service := $services -}}
{{- range $listener := $service.values.proxyProtocol -}}
{{- if not (hasKey ($service.row.listeners | default dict) $listener) -}}
{{- fail (printf "services.%s.proxyProtocol: it has no listener %s" $name $listener) -}}
{{- end -}}
{{- if not $values.exposure.trustedProxies -}}
{{- fail (printf "exposure.trustedProxies: the networks of the balancers are wanted, because services.%s.proxyProtocol is set" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $service := $services -}}
{{- $offered := dig "settings" "sasl_mechanisms" "" $service.values | upper | nospace | splitList "," -}}
{{- if and (has "EXTERNAL" $offered) (not (include "postroom.knowsClients" (list $ $name))) -}}
{{- fail (printf "services.%s.settings.sasl_mechanisms: EXTERNAL is for services that tls.clientCertificates names, with a Secret" $name) -}}
{{- end -}}
{{- end -}}
{{- with index $services "ftp-gateway" -}}
{{- if ne .values.ftp.mode "single" -}}
{{- fail (printf "services.ftp-gateway.ftp.mode: %s is not possible yet: it comes with a later version, until then only single is" .values.ftp.mode) -}}
{{- end -}}
{{- if or .values.autoscaling.enabled (gt (int .values.replicas) 1) -}}
{{- fail "services.ftp-gateway: only one replica is possible yet: the control connection and the data connections of a client have to meet in one pod, and pods cannot pass them on to each other so far" -}}
{{- end -}}
{{- end -}}
{{- if and (eq $values.nats.mode "external") (not $values.nats.existingSecret) -}}
{{- fail "nats.existingSecret: a Secret with the URL of an external NATS is wanted" -}}
{{- end -}}
{{- if eq $values.objectStore.mode "external" -}}
{{- if not $values.objectStore.existingSecret -}}
{{- fail "objectStore.existingSecret: a Secret with the keys of an external object store is wanted" -}}
{{- end -}}
{{- if not (regexMatch "^https?://[^/]+$" $values.objectStore.external.endpoint) -}}
{{- fail "objectStore.external.endpoint: wanted like https://host:port" -}}
{{- end -}}
{{- end -}}
{{- with $values.telemetry.otlp.endpoint -}}
{{- if not (regexMatch "^https?://[^/]+(/.*)?$" .) -}}
{{- fail "telemetry.otlp.endpoint: wanted like http://host:4318" -}}
{{- end -}}
{{- end -}}
{{- if and (eq $values.postgres.mode "cnpg") (not (.Capabilities.APIVersions.Has "postgresql.cnpg.io/v1")) -}}
{{- fail "postgres.mode: this cluster has no CloudNativePG (API postgresql.cnpg.io/v1)" -}}
{{- end -}}
{{- if and (eq $values.postgres.mode "cnpg") (ge (int $values.postgres.cnpg.synchronousStandbys) (int $values.postgres.cnpg.instances)) -}}
{{- fail "postgres.cnpg: synchronousStandbys have to be fewer than instances" -}}
{{- end -}}
{{- if and (eq $values.tls.mode "existingSecret") (not $values.tls.existingSecret) -}}
{{- fail "tls.existingSecret: a Secret with the certificate is wanted" -}}
{{- end -}}
{{- if and (eq $values.tls.mode "certManager") (not $values.tls.certManager.issuerRef.name) -}}
{{- fail "tls.certManager.issuerRef: the name of an issuer is wanted" -}}
{{- end -}}
{{- if eq $values.internalTls.mode "existingSecrets" -}}
{{- range $name, $_ := include "postroom.participants" . | fromYaml -}}
{{- if not (index $values.internalTls.existingSecrets $name) -}}
{{- fail (printf "internalTls.existingSecrets.%s: a Secret with the certificate of the service is wanted" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if or (eq $values.tls.mode "certManager") (eq $values.internalTls.mode "certManager") -}}
{{- if not (.Capabilities.APIVersions.Has "cert-manager.io/v1") -}}
{{- fail "tls, internalTls: this cluster has no cert-manager (API cert-manager.io/v1)" -}}
{{- end -}}
{{- end -}}
{{- $web := dig "listeners" dict (index $services "webmail-api" | default dict) -}}
{{- range $name, $way := dict "gateway" $values.gateway "ingress" $values.ingress -}}
{{- if and $way.enabled (not (hasKey $web $way.backend)) -}}
{{- fail (printf "%s.backend: the listener %s of webmail-api is left out" $name $way.backend) -}}
{{- end -}}
{{- if and $way.enabled (eq $way.backend "http") (not $values.exposure.trustedGateways) -}}
{{- fail (printf "%s.backend: logins in plain HTTP are refused unless exposure.trustedGateways names who ends TLS" $name) -}}
{{- end -}}
{{- end -}}
{{- if and $values.gateway.enabled (not $values.gateway.parentRefs) -}}
{{- fail "gateway.parentRefs: the Gateway is wanted" -}}
{{- end -}}
{{- end -}}
