{{/*
The one pod of all our workloads: (dict "root" $ "name" "directory" "service" {row, values, listeners} "verb" "serve").
The verb is `serve`, `migrate` or `check`; of `setup`, `declare` or `drift`; of `client`, `reach`.
*/}}
{{- define "postroom.pod" -}}
{{- $root := .root -}}
{{- $values := .service.values -}}
{{- $row := .service.row -}}
{{- $serves := eq .verb "serve" -}}
{{- $component := ternary .name (printf "%s-%s" .name .verb) $serves -}}
metadata:
  labels:
    {{- include "postroom.labels" (list $root $component) | nindent 4 }}
    postroom-identity: {{ .name }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $values.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  serviceAccountName: {{ include "postroom.name" (list $root .name) }}
  automountServiceAccountToken: false
  # A Service called postroom-smtp-inbound would set POSTROOM_SMTP_INBOUND_PORT to something that is no port.
  enableServiceLinks: false
  securityContext: {{- include "postroom.podSecurityContext" 10001 | nindent 4 }}
  {{- if $serves }}
  terminationGracePeriodSeconds: {{ include "postroom.graceSeconds" .service }}
  {{- else }}
  restartPolicy: {{ ternary "OnFailure" "Never" (eq .verb "migrate") }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and $serves $values.topologySpread }}
  topologySpreadConstraints:
    {{- range $values.topologySpread }}
    - {{- toYaml . | nindent 6 }}
      labelSelector:
        matchLabels: {{- include "postroom.selector" (list $root $component) | nindent 10 }}
      matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
  containers:
    - name: {{ .name }}
      image: {{ include "postroom.image" (list $root (default .name $row.image) $values) | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [{{ .verb }}]
      env: {{- include "postroom.env" . | nindent 8 }}
      {{- if $serves }}
      ports:
        - {name: health, containerPort: 9090}
        {{- if $row.core }}
        - {name: grpc, containerPort: 9000}
        {{- end }}
        {{- range $listener, $facts := $row.listeners }}
        - {name: {{ $listener }}, containerPort: {{ $facts.container }}}
        {{- end }}
        {{- range $listener := $values.proxyProtocol }}
        - {name: {{ $listener | trunc 9 }}-proxy, containerPort: {{ add 10000 (index $row.listeners $listener).container }}}
        {{- end }}
        {{- range $port := include "postroom.passivePorts" . | fromJsonArray }}
        - {name: passive-{{ $port }}, containerPort: {{ $port }}}
        {{- end }}
      # None of them asks whether something else is there: a Postgres that is away must not take our pods away.
      startupProbe:
        httpGet: {path: /livez, port: health}
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /livez, port: health}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: health}
        periodSeconds: 3
        timeoutSeconds: 3
        failureThreshold: 2
      {{- if gt (int $values.unreadySeconds) 0 }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ $values.unreadySeconds }}}
      {{- end }}
      {{- end }}
      resources: {{- toYaml $values.resources | nindent 8 }}
      securityContext: {{- include "postroom.securityContext" $root | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if not $row.client }}
        - {name: grpc, mountPath: /etc/postroom/grpc, readOnly: true}
        {{- end }}
        {{- if include "postroom.hasSecrets" .service }}
        - {name: secrets, mountPath: /etc/postroom/secrets, readOnly: true}
        {{- end }}
        {{- if eq .name "setup" }}
        {{- include "postroom.setupMounts" $root | nindent 8 }}
        {{- end }}
        {{- if $row.listeners }}
        - {name: tls, mountPath: /etc/postroom/tls, readOnly: true}
        {{- end }}
        {{- if include "postroom.knowsClients" (list $root .name) }}
        - {name: clients, mountPath: /etc/postroom/clients, readOnly: true}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- if not $row.client }}
    - name: grpc
      secret:
        secretName: {{ include "postroom.identitySecret" (list $root .name) }}
        defaultMode: 0440
    {{- end }}
    {{- if include "postroom.hasSecrets" .service }}
    - name: secrets
      projected:
        defaultMode: 0440
        sources: {{- include "postroom.secretSources" . | nindent 10 }}
    {{- end }}
    {{- if eq .name "setup" }}
    {{- include "postroom.setupVolumes" $root | nindent 4 }}
    {{- end }}
    {{- if $row.listeners }}
    - name: tls
      secret:
        secretName: {{ include "postroom.tlsSecret" $root }}
        defaultMode: 0440
    {{- end }}
    {{- if include "postroom.knowsClients" (list $root .name) }}
    - name: clients
      secret:
        secretName: {{ $root.Values.tls.clientCertificates.existingSecret }}
        defaultMode: 0440
        items: [{key: {{ $root.Values.tls.clientCertificates.key }}, path: ca.crt}]
    {{- end }}
{{- end -}}

{{/* Until a pod is killed: what balancers need, what is under way needs, and the process to end. */}}
{{- define "postroom.graceSeconds" -}}
{{- $drains := .row.drains | default 1 | int -}}
{{- add (int .values.unreadySeconds) (mul $drains (int .values.drainSeconds)) 10 -}}
{{- end -}}

{{- define "postroom.passivePorts" -}}
{{- $ports := list -}}
{{- with .service.values.ftp -}}
{{- range until (int .passive.count) -}}
{{- $ports = append $ports (add (int $.service.values.ftp.passive.first) .) -}}
{{- end -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{- define "postroom.hasSecrets" -}}
{{- if or .row.core (has "admin" .row.reads) -}}true{{- end -}}
{{- end -}}

{{- define "postroom.secretSources" -}}
{{- $root := .root -}}
{{- if .service.row.core -}}
- secret:
    name: {{ include "postroom.roleSecret" (list $root .name) }}
    items: [{key: {{ (index $root.Values.postgres.roles .name).uriKey }}, path: database-url}]
{{- end }}
{{- if has "objectStore" .service.row.reads }}
- secret:
    name: {{ include "postroom.objectStoreSecret" $root }}
    items:
      - {key: {{ $root.Values.objectStore.accessKeyKey }}, path: s3-access-key}
      - {key: {{ $root.Values.objectStore.secretKeyKey }}, path: s3-secret-key}
{{- end }}
{{- if has "admin" .service.row.reads }}
- secret:
    name: {{ include "postroom.adminSecret" $root }}
    items: [{key: {{ $root.Values.admin.key }}, path: admin-token}]
{{- end }}
{{- end -}}
