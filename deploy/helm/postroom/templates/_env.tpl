{{/* The environment of a service's container, with the arguments of postroom.pod. */}}
{{- define "postroom.env" -}}
{{- $root := .root -}}
{{- $row := .service.row -}}
{{- $values := .service.values -}}
{{- $prefix := printf "POSTROOM_%s_" (.name | upper | replace "-" "_") -}}
{{- $plain := include "postroom.plainEnv" (merge (dict "prefix" $prefix) .) | fromYaml -}}
{{- range $field, $value := $values.settings | default dict -}}
{{- $name := printf "%s%s" $prefix ($field | upper) -}}
{{- if hasKey $plain $name -}}
{{- fail (printf "services.%s.settings.%s: the chart says that itself" $.name $field) -}}
{{- end -}}
{{- $_ := set $plain $name (include "postroom.text" $value) -}}
{{- end -}}
{{- $env := list -}}
{{- range $name, $value := $plain -}}
{{- $env = append $env (dict "name" $name "value" ($value | toString)) -}}
{{- end -}}
{{- if has "nats" $row.reads -}}
{{- $reference := dict "name" (include "postroom.natsSecret" $root) "key" $root.Values.nats.urlKey -}}
{{- $env = append $env (dict "name" "POSTROOM_NATS_URL" "valueFrom" (dict "secretKeyRef" $reference)) -}}
{{- end -}}
{{- $fields := dict -}}
{{- if or $row.listeners $row.client -}}{{- $_ := set $fields "POSTROOM_NODE_ADDRESSES" "status.hostIPs" -}}{{- end -}}
{{- if $row.client -}}{{- $_ := set $fields (printf "%sPOD_ADDRESSES" $prefix) "status.podIPs" -}}{{- end -}}
{{- range $name, $path := $fields -}}
{{- $env = append $env (dict "name" $name "valueFrom" (dict "fieldRef" (dict "apiVersion" "v1" "fieldPath" $path))) -}}
{{- end -}}
{{- with $root.Values.telemetry.otlp -}}
{{- if and .endpoint .headersSecret (not $row.once) -}}
{{- $reference := dict "name" .headersSecret "key" .headersKey -}}
{{- $env = append $env (dict "name" "OTEL_EXPORTER_OTLP_HEADERS" "valueFrom" (dict "secretKeyRef" $reference)) -}}
{{- end -}}
{{- end -}}
{{- range $values.extraEnv -}}
{{- $name := .name -}}
{{- range $env -}}
{{- if eq .name $name -}}
{{- fail (printf "services.%s.extraEnv: %s is there already" $.name $name) -}}
{{- end -}}
{{- end -}}
{{- $env = append $env . -}}
{{- end -}}
{{- toYaml $env -}}
{{- end -}}

{{/* What has a plain value, by name. */}}
{{- define "postroom.plainEnv" -}}
{{- $root := .root -}}
{{- $row := .service.row -}}
{{- $values := .service.values -}}
POSTROOM_LOG_LEVEL: {{ $root.Values.logLevel | quote }}
{{- if $row.client }}
{{- $listener := include "postroom.visited" $root }}
{{- $port := (index (include "postroom.services" $root | fromYaml) "smtp-inbound" "listeners" $listener).port }}
{{ .prefix }}TARGET: {{ printf "%s:%d" (include "postroom.name" (list $root "smtp-inbound")) (int $port) | quote }}
{{ .prefix }}STRICT: {{ eq $root.Values.exposure.externalTrafficPolicy "Local" | quote }}
{{- else if $row.once }}
{{ .prefix }}DECLARATIONS: {{ include "postroom.setupFolders" $root | fromJsonArray | join "," | quote }}
{{- else }}
{{ .prefix }}HEALTH_ADDRESS: ":9090"
# The preStop hook has waited for the balancers before the process is told to end.
{{ .prefix }}UNREADY_SECONDS: "0"
{{ .prefix }}DRAIN_SECONDS: {{ include "postroom.text" $values.drainSeconds | quote }}
{{- end }}
{{- if not $row.client }}
POSTROOM_GRPC_TLS_CERT_FILE: /etc/postroom/grpc/tls.crt
POSTROOM_GRPC_TLS_KEY_FILE: /etc/postroom/grpc/tls.key
POSTROOM_GRPC_TLS_CA_FILE: /etc/postroom/grpc/ca.crt
{{- end }}
{{- range $core := list "directory" "mailstore" "filestore" }}
{{- if has $core $row.reads }}
POSTROOM_{{ $core | upper }}_ADDRESS: dns:///{{ include "postroom.name" (list $root $core) }}:9000
{{- end }}
{{- end }}
{{- if $row.core }}
{{ .prefix }}GRPC_LISTEN: 0.0.0.0:9000
POSTROOM_DATABASE_URL_FILE: /etc/postroom/secrets/database-url
POSTROOM_ACCEPT_NO_STANDBY: {{ or $root.Values.postgres.acceptNoStandby (eq $root.Values.postgres.mode "bundled") | quote }}
{{- end }}
{{- if has "admin" $row.reads }}
{{ .prefix }}ADMIN_TOKEN_FILE: /etc/postroom/secrets/admin-token
{{- end }}
{{- if has "objectStore" $row.reads }}
POSTROOM_S3_ENDPOINT: {{ include "postroom.s3Endpoint" $root | quote }}
POSTROOM_S3_REGION: {{ $root.Values.objectStore.region | quote }}
POSTROOM_S3_ACCESS_KEY_FILE: /etc/postroom/secrets/s3-access-key
POSTROOM_S3_SECRET_KEY_FILE: /etc/postroom/secrets/s3-secret-key
{{ .prefix }}BUCKET: {{ index $root.Values.objectStore.buckets $row.bucket | quote }}
{{- end }}
{{- with $row.names }}
{{ $.prefix }}{{ . }}: {{ $root.Values.hostname | quote }}
{{- end }}
{{- if $row.listeners }}
POSTROOM_TLS_CERT_FILE: /etc/postroom/tls/tls.crt
POSTROOM_TLS_KEY_FILE: /etc/postroom/tls/tls.key
{{- end }}
{{- if include "postroom.knowsClients" (list $root .name) }}
POSTROOM_CLIENT_CA_FILE: /etc/postroom/clients/ca.crt
{{- end }}
{{- range $row.listeners }}
{{ $.prefix }}{{ .variable }}: {{ .container | quote }}
{{- end }}
{{- range $listener := $values.proxyProtocol }}
{{- $facts := index $row.listeners $listener }}
{{ $.prefix }}{{ regexReplaceAll "PORT$" $facts.variable "PROXY_PORT" }}: {{ add 10000 $facts.container | toString | quote }}
{{- end }}
{{- if $values.proxyProtocol }}
{{ .prefix }}TRUSTED_PROXIES: {{ join "," $root.Values.exposure.trustedProxies | quote }}
{{- end }}
{{- if and (hasKey ($row.listeners | default dict) "https") $root.Values.exposure.trustedGateways }}
{{ .prefix }}TRUSTED_GATEWAYS: {{ join "," $root.Values.exposure.trustedGateways | quote }}
{{- end }}
{{- if and (or $row.listeners $row.addresses $row.client) $root.Values.exposure.sharedAddresses }}
POSTROOM_UNTRUSTED_ADDRESSES: {{ join "," $root.Values.exposure.sharedAddresses | quote }}
{{- end }}
{{- if and (not $row.once) $root.Values.telemetry.otlp.endpoint }}
{{ include "postroom.telemetryEnv" $root }}
{{- end }}
{{- with $values.ftp }}
{{ $.prefix }}PASSIVE_PORTS: {{ include "postroom.passiveRange" .passive | quote }}
{{- with .passive.address }}
{{ $.prefix }}PASSIVE_ADDRESS: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}
