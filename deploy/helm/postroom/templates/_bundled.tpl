{{/*
A dependency in one pod, for a trial:
(dict "root" $ "name" "nats" "values" {persistence, resources, runAsUser} "image" {...} "ports" {name: number}
 "open" (list names) "command" "args" "env" "mounts" "volumes" "readiness" "liveness" "stop" "grace" "files").
*/}}
{{- define "postroom.bundled" -}}
{{- $root := .root -}}
{{- $name := include "postroom.name" (list $root .name) -}}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  labels: {{- include "postroom.labels" (list $root .name) | nindent 4 }}
automountServiceAccountToken: false
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  labels: {{- include "postroom.labels" (list $root .name) | nindent 4 }}
spec:
  clusterIP: None
  selector: {{- include "postroom.selector" (list $root .name) | nindent 4 }}
  ports:
    {{- range .open }}
    - {name: {{ . }}, port: {{ index $.ports . }}, targetPort: {{ . }}}
    {{- end }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $name }}
  labels: {{- include "postroom.labels" (list $root .name) | nindent 4 }}
data:
  {{- range .files }}
  {{ . }}: |
    {{- $root.Files.Get (printf "files/%s" .) | nindent 4 }}
  {{- end }}
  # Whatever number it runs as has a name.
  passwd: |
    root:x:0:0:root:/root:/bin/sh
    {{ .name }}:x:{{ .values.runAsUser }}:{{ .values.runAsUser }}::/tmp:/bin/sh
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ $name }}
  labels: {{- include "postroom.labels" (list $root .name) | nindent 4 }}
spec:
  replicas: 1
  serviceName: {{ $name }}
  selector:
    matchLabels: {{- include "postroom.selector" (list $root .name) | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "postroom.labels" (list $root .name) | nindent 8 }}
        postroom-identity: {{ .name }}
      annotations:
        {{- $texts := list }}
        {{- range .files }}{{ $texts = append $texts ($root.Files.Get (printf "files/%s" .)) }}{{ end }}
        postroom/files: {{ join "" $texts | sha256sum | trunc 16 }}
    spec:
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      serviceAccountName: {{ $name }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext: {{- include "postroom.podSecurityContext" .values.runAsUser | nindent 8 }}
      terminationGracePeriodSeconds: {{ .grace }}
      containers:
        - name: {{ .name }}
          image: {{ include "postroom.imageName" (list $root .image.repository .image.digest .image.tag) | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command: {{- toYaml .command | nindent 12 }}
          {{- with .args }}
          args: {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with .env }}
          env: {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            {{- range $port, $number := .ports }}
            - {name: {{ $port }}, containerPort: {{ $number }}}
            {{- end }}
          startupProbe:
            {{- toYaml .readiness | nindent 12 }}
            periodSeconds: 2
            timeoutSeconds: 5
            failureThreshold: 150
          readinessProbe:
            {{- toYaml .readiness | nindent 12 }}
            periodSeconds: 5
            timeoutSeconds: 5
          livenessProbe:
            {{- toYaml .liveness | nindent 12 }}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          {{- with .stop }}
          lifecycle:
            preStop:
              exec:
                command: {{- toYaml . | nindent 18 }}
          {{- end }}
          resources: {{- toYaml .values.resources | nindent 12 }}
          securityContext: {{- include "postroom.securityContext" $root | nindent 12 }}
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: tmp, mountPath: /tmp}
            - {name: files, mountPath: /etc/postroom/files, readOnly: true}
            - {name: files, mountPath: /etc/passwd, subPath: passwd, readOnly: true}
            {{- with .mounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 256Mi}
        - name: files
          configMap:
            name: {{ $name }}
        {{- with .volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- if not .values.persistence.enabled }}
        - name: data
          emptyDir: {sizeLimit: {{ .values.persistence.size }}}
        {{- end }}
  {{- if .values.persistence.enabled }}
  volumeClaimTemplates:
    - apiVersion: v1
      kind: PersistentVolumeClaim
      metadata:
        name: data
        labels: {{- include "postroom.selector" (list $root .name) | nindent 10 }}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .values.persistence.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ .values.persistence.size }}
  {{- end }}
{{- end -}}
