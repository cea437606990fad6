{{/* Names, labels and images. */}}

{{/* With 63 characters for a Job's name, which ends in -directory-migrate-9999-abcdef, and 52 for a CronJob's. */}}
{{- define "postroom.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 33 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 33 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 33 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The name of one part's objects: (list $ "directory"). */}}
{{- define "postroom.name" -}}
{{- printf "%s-%s" (include "postroom.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{/* What selects the pods of one part, and never changes: (list $ "directory"). */}}
{{- define "postroom.selector" -}}
app.kubernetes.io/name: {{ default (index . 0).Chart.Name (index . 0).Values.nameOverride }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* The labels of one part's objects: (list $ "directory"). */}}
{{- define "postroom.labels" -}}
{{ include "postroom.selector" . }}
app.kubernetes.io/part-of: postroom
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end -}}

{{/* As whom a pod goes through the network: a service's migrations and checks go as the service itself. */}}
{{- define "postroom.identity" -}}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
postroom-identity: {{ index . 1 }}
{{- end -}}

{{/* An image by repository, digest and tag: (list $ "postroom/directory" "" "1.0"). */}}
{{- define "postroom.imageName" -}}
{{- $registry := (index . 0).Values.image.registry -}}
{{- $repository := index . 1 -}}
{{- if $registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" $registry) (trimPrefix "docker.io/" $repository) -}}
{{- end -}}
{{- if index . 2 -}}
{{- printf "%s@%s" $repository (index . 2) -}}
{{- else -}}
{{- printf "%s:%s" $repository (index . 3) -}}
{{- end -}}
{{- end -}}

{{/* The image of one of our services: (list $ "directory" $service). */}}
{{- define "postroom.image" -}}
{{- $root := index . 0 -}}
{{- $image := (index . 2).image -}}
{{- $repository := default (printf "%s/%s" $root.Values.image.repository (index . 1)) $image.repository -}}
{{- $tag := coalesce $image.tag $root.Values.image.tag $root.Chart.AppVersion -}}
{{- include "postroom.imageName" (list $root $repository $image.digest $tag) -}}
{{- end -}}

{{/* An integer that YAML may have made a float of, or anything else, as text. */}}
{{- define "postroom.text" -}}
{{- if kindIs "float64" . -}}
{{- if eq . (floor .) -}}{{- . | int64 | toString -}}{{- else -}}{{- . | toString -}}{{- end -}}
{{- else -}}
{{- . | toString -}}
{{- end -}}
{{- end -}}

{{- define "postroom.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "postroom.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}
