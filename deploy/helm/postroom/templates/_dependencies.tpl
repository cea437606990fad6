{{/* Where Postgres, NATS, the object store and all Secrets are. */}}

{{/* The Secret of a core service's role: (list $ "directory"). */}}
{{- define "postroom.roleSecret" -}}
{{- $root := index . 0 -}}
{{- $given := (index $root.Values.postgres.roles (index . 1)).existingSecret -}}
{{- default (include "postroom.name" (list $root (printf "postgres-%s" (index . 1)))) $given -}}
{{- end -}}

{{- define "postroom.natsSecret" -}}
{{- default (include "postroom.name" (list . "nats")) .Values.nats.existingSecret -}}
{{- end -}}

{{- define "postroom.objectStoreSecret" -}}
{{- default (include "postroom.name" (list . "object-store")) .Values.objectStore.existingSecret -}}
{{- end -}}

{{- define "postroom.adminSecret" -}}
{{- default (include "postroom.name" (list . "admin")) .Values.admin.existingSecret -}}
{{- end -}}

{{- define "postroom.tlsSecret" -}}
{{- if eq .Values.tls.mode "existingSecret" -}}
{{- .Values.tls.existingSecret -}}
{{- else -}}
{{- include "postroom.name" (list . "tls") -}}
{{- end -}}
{{- end -}}

{{/* Whether a service is given the authorities of clients' certificates: (list $ "directory"). */}}
{{- define "postroom.knowsClients" -}}
{{- with (index . 0).Values.tls.clientCertificates -}}
{{- if and .existingSecret (has (index $ 1) (append .services "directory")) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* The Secret by which the other services know this one: (list $ "directory"). */}}
{{- define "postroom.identitySecret" -}}
{{- $root := index . 0 -}}
{{- if eq $root.Values.internalTls.mode "existingSecrets" -}}
{{- index $root.Values.internalTls.existingSecrets (index . 1) -}}
{{- else -}}
{{- include "postroom.name" (list $root (printf "%s-grpc" (index . 1))) -}}
{{- end -}}
{{- end -}}

{{/* The CloudNativePG Cluster's name. */}}
{{- define "postroom.cluster" -}}
{{- include "postroom.name" (list . "postgres") -}}
{{- end -}}

{{- define "postroom.postgresHost" -}}
{{- if eq .Values.postgres.mode "cnpg" -}}
{{- printf "%s-rw" (include "postroom.cluster" .) -}}
{{- else -}}
{{- include "postroom.name" (list . "postgres") -}}
{{- end -}}
{{- end -}}

{{- define "postroom.s3Port" -}}
{{- ternary "8333" "9000" (eq .Values.objectStore.bundled.kind "seaweedfs") -}}
{{- end -}}

{{- define "postroom.s3Endpoint" -}}
{{- if eq .Values.objectStore.mode "external" -}}
{{- .Values.objectStore.external.endpoint -}}
{{- else -}}
{{- printf "http://%s:%s" (include "postroom.name" (list . "object-store")) (include "postroom.s3Port" .) -}}
{{- end -}}
{{- end -}}

{{/* The port of an external object store, from its URL. */}}
{{- define "postroom.s3EndpointPort" -}}
{{- $url := urlParse .Values.objectStore.external.endpoint -}}
{{- $found := regexFind ":[0-9]+$" $url.host -}}
{{- if $found -}}
{{- trimPrefix ":" $found -}}
{{- else -}}
{{- ternary "443" "80" (eq $url.scheme "https") -}}
{{- end -}}
{{- end -}}

{{/*
A value of a Secret that the chart makes: what is there already, else `otherwise`: (list $ secret key otherwise).
*/}}
{{- define "postroom.kept" -}}
{{- $root := index . 0 -}}
{{- $secret := lookup "v1" "Secret" $root.Release.Namespace (index . 1) | default dict -}}
{{- $there := index ($secret.data | default dict) (index . 2) -}}
{{- if $there -}}{{- $there | b64dec -}}{{- else -}}{{- index . 3 -}}{{- end -}}
{{- end -}}

{{/* Refuses to make a Secret where nothing can be looked up: (list $ value what). */}}
{{- define "postroom.mayGenerate" -}}
{{- if not (index . 0).Values.secrets.generate -}}
{{- fail (printf "%s: the chart makes no secrets while secrets.generate is false; give it %s" (index . 1) (index . 2)) -}}
{{- end -}}
{{- end -}}
