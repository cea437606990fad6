{{/*
What the services are, which is not for values to say: what each reads from its environment, where it listens, whom it
may reach (the table in docs/operations.md). `tls` marks a listener that is open only with a certificate.
`once` marks what runs as Jobs or tests only, `image` whose image that is, `client` what is no service of ours.
*/}}
{{- define "postroom.table" -}}
directory:
  core: true
  schema: true
  # Failed logins are counted by the clients' addresses.
  addresses: true
  reaches: [nats, postgres]
  reads: [nats, admin]
mailstore:
  core: true
  schema: true
  # Its calls and then its jobs are given the drain's seconds.
  drains: 2
  reaches: [nats, postgres, object-store, directory]
  reads: [nats, objectStore, directory]
  names: HOSTNAME
  bucket: mail
filestore:
  core: true
  schema: true
  reaches: [nats, postgres, object-store, directory]
  reads: [objectStore, directory]
  bucket: files
smtp-inbound:
  reaches: [nats, object-store, directory, mailstore]
  reads: [directory, mailstore]
  names: HOSTNAME
  listeners:
    smtp: {variable: PORT, container: 2025, port: 25}
    submission: {variable: SUBMISSION_PORT, container: 2587, port: 587}
    submissions: {variable: SUBMISSIONS_PORT, container: 2465, port: 465, tls: true}
smtp-outbound:
  reaches: [nats, object-store, directory, mailstore]
  internet: [25, 443]
  reads: [nats, mailstore]
  names: HELO_NAME
mail-access:
  reaches: [nats, object-store, directory, mailstore]
  reads: [nats, directory, mailstore]
  listeners:
    imap: {variable: IMAP_PORT, container: 2143, port: 143}
    imaps: {variable: IMAPS_PORT, container: 2993, port: 993, tls: true}
    pop3: {variable: POP3_PORT, container: 2110, port: 110}
    pop3s: {variable: POP3S_PORT, container: 2995, port: 995, tls: true}
ftp-gateway:
  reaches: [nats, object-store, directory, filestore]
  # Clients in active mode, at whatever port they name.
  internet: [1024-65535]
  reads: [directory, filestore]
  listeners:
    ftp: {variable: PORT, container: 2021, port: 21}
    ftps: {variable: FTPS_PORT, container: 2990, port: 990, tls: true}
webmail-api:
  reaches: [nats, object-store, directory, mailstore, filestore]
  # The image proxy.
  internet: [80, 443]
  reads: [directory, mailstore, filestore]
  listeners:
    http: {variable: HTTP_PORT, container: 2080, port: 80}
    https: {variable: HTTPS_PORT, container: 2443, port: 443, tls: true}
{{- end -}}

{{/*
The services that are wanted, by name: {row, values, listeners}. `listeners` are those with a port, each with its number
at the Service.
*/}}
{{- define "postroom.services" -}}
{{- $result := dict -}}
{{- range $name, $row := include "postroom.table" . | fromYaml -}}
{{- $values := mergeOverwrite (deepCopy $.Values.defaults) (deepCopy (index $.Values.services $name | default dict)) -}}
{{- if $values.enabled -}}
{{- $listeners := dict -}}
{{- range $listener, $facts := $row.listeners | default dict -}}
{{- $port := ternary (index $values.service.ports $listener) $facts.port (hasKey $values.service.ports $listener) -}}
{{- if $port -}}
{{- $_ := set $listeners $listener (merge (dict "port" ($port | int)) $facts) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $result $name (dict "row" $row "values" $values "listeners" $listeners) -}}
{{- end -}}
{{- end -}}
{{- toYaml $result -}}
{{- end -}}

{{/* Whether anything is declared that a Job is to make. */}}
{{- define "postroom.declares" -}}
{{- with .Values.setup -}}
{{- if or .domains .accounts .aliases .configMaps .secrets -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* The services, and beside them what makes that what is declared: all that have a certificate and network policies. */}}
{{- define "postroom.participants" -}}
{{- $result := include "postroom.services" . | fromYaml -}}
{{- if include "postroom.declares" . -}}
{{- $row := dict "once" true "image" "directory" "reaches" (list "directory") "reads" (list "directory" "admin") -}}
{{- $values := omit (index $result "directory").values "settings" "extraEnv" "networkPolicy" -}}
{{- $_ := set $values "networkPolicy" dict -}}
{{- $_ := set $result "setup" (dict "row" $row "values" $values "listeners" dict) -}}
{{- end -}}
{{- toYaml $result -}}
{{- end -}}

{{/* The listener of smtp-inbound whose public port a pod in the cluster can use: what is left without PROXY headers. */}}
{{- define "postroom.visited" -}}
{{- $services := include "postroom.services" . | fromYaml -}}
{{- with index $services "smtp-inbound" -}}
{{- $listeners := .listeners -}}
{{- $behind := .values.proxyProtocol -}}
{{- $open := list -}}
{{- range $listener := list "smtp" "submission" -}}
{{- if and (hasKey $listeners $listener) (not (has $listener $behind)) -}}{{- $open = append $open $listener -}}{{- end -}}
{{- end -}}
{{- first $open -}}
{{- end -}}
{{- end -}}

{{/* Beside the participants what `helm test` visits the public port with, as a client: all that network policies know. */}}
{{- define "postroom.everybody" -}}
{{- $result := include "postroom.participants" . | fromYaml -}}
{{- if include "postroom.visited" . -}}
{{- $row := dict "once" true "client" true "image" "smtp-inbound" "reaches" list "reads" list -}}
{{- $values := omit (index $result "smtp-inbound").values "settings" "extraEnv" "networkPolicy" "proxyProtocol" -}}
{{- $_ := set $values "networkPolicy" dict -}}
{{- $_ := set $result "client" (dict "row" $row "values" $values "listeners" dict) -}}
{{- end -}}
{{- toYaml $result -}}
{{- end -}}

{{/* Whether something scales a service, so that its replicas are not ours to say. */}}
{{- define "postroom.scaled" -}}
{{- if or .autoscaling.enabled (dig "keda" "enabled" false .) -}}true{{- end -}}
{{- end -}}

{{/* The passive ports of FTP as `first-last`. */}}
{{- define "postroom.passiveRange" -}}
{{- printf "%d-%d" (int .first) (sub (add (int .first) (int .count)) 1) -}}
{{- end -}}
