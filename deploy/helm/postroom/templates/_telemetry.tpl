{{/* OpenTelemetry's variables, which our services and its SDK in them read. */}}
{{- define "postroom.telemetryEnv" -}}
{{- $root := . -}}
{{- with .Values.telemetry.otlp -}}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ .endpoint | quote }}
OTEL_EXPORTER_OTLP_PROTOCOL: {{ .protocol | quote }}
OTEL_TRACES_SAMPLER: {{ .sampler | quote }}
{{- if .samplerArg }}
OTEL_TRACES_SAMPLER_ARG: {{ .samplerArg | quote }}
{{- end }}
{{- $attributes := list (printf "k8s.namespace.name=%s" $root.Release.Namespace) -}}
{{- range $name, $value := .resourceAttributes -}}
{{- $attributes = append $attributes (printf "%s=%s" $name ($value | urlquery | replace "+" "%20")) -}}
{{- end }}
OTEL_RESOURCE_ATTRIBUTES: {{ join "," $attributes | quote }}
{{- end -}}
{{- end -}}

{{/* The port of the receiver, from its URL. */}}
{{- define "postroom.telemetryPort" -}}
{{- $url := urlParse .Values.telemetry.otlp.endpoint -}}
{{- $found := regexFind ":[0-9]+$" $url.host -}}
{{- if $found -}}
{{- trimPrefix ":" $found -}}
{{- else -}}
{{- ternary "443" "80" (eq $url.scheme "https") -}}
{{- end -}}
{{- end -}}

{{/* The way to it, for every service; to any address at its port when nothing says where it is. */}}
{{- define "postroom.egress.telemetry" -}}
{{- with .Values.telemetry.otlp -}}
- ports: [{port: {{ include "postroom.telemetryPort" $ }}, protocol: TCP}]
  {{- if or .namespaceSelector .podSelector .cidrs }}
  to:
    {{- if or .namespaceSelector .podSelector }}
    - namespaceSelector:
        matchLabels: {{- toYaml .namespaceSelector | nindent 10 }}
      podSelector:
        matchLabels: {{- toYaml .podSelector | nindent 10 }}
    {{- end }}
    {{- range .cidrs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  {{- end }}
{{- end -}}
{{- end -}}
