{{/* What is declared: where it is mounted, and how. */}}

{{/* What values declare, in JSON; a kind that they do not speak of is left out. */}}
{{- define "postroom.declaredJson" -}}
{{- $declared := dict -}}
{{- with .Values.setup.domains -}}{{- $_ := set $declared "domains" . -}}{{- end -}}
{{- with .Values.setup.aliases -}}{{- $_ := set $declared "aliases" . -}}{{- end -}}
{{- $accounts := list -}}
{{- range .Values.setup.accounts -}}
{{- $account := omit . "passwordSecret" -}}
{{- with .passwordSecret -}}
{{- $_ := set $account "password_file" (printf "/etc/postroom/passwords/%s" (include "postroom.passwordPath" .)) -}}
{{- end -}}
{{- $accounts = append $accounts $account -}}
{{- end -}}
{{- with $accounts -}}{{- $_ := set $declared "accounts" . -}}{{- end -}}
{{- toPrettyJson $declared -}}
{{- end -}}

{{/* Of {name, key}. */}}
{{- define "postroom.passwordPath" -}}
{{- printf "%s/%s" .name (default "password" .key) -}}
{{- end -}}

{{/* The folders with JSON files, as a list in JSON. */}}
{{- define "postroom.setupFolders" -}}
{{- $folders := list "/etc/postroom/setup/values" -}}
{{- range .Values.setup.configMaps -}}
{{- $folders = append $folders (printf "/etc/postroom/setup/config-maps/%s" .) -}}
{{- end -}}
{{- range .Values.setup.secrets -}}
{{- $folders = append $folders (printf "/etc/postroom/setup/secrets/%s" .) -}}
{{- end -}}
{{- toJson $folders -}}
{{- end -}}

{{/* The Secrets with first passwords, by the path of the password. */}}
{{- define "postroom.passwordSecrets" -}}
{{- $sources := dict -}}
{{- range .Values.setup.accounts -}}
{{- with .passwordSecret -}}
{{- $_ := set $sources (include "postroom.passwordPath" .) (dict "name" .name "key" (default "password" .key)) -}}
{{- end -}}
{{- end -}}
{{- toJson $sources -}}
{{- end -}}

{{- define "postroom.setupMounts" -}}
- {name: declared, mountPath: /etc/postroom/setup/values, readOnly: true}
{{- if include "postroom.passwordSecrets" . | fromJson }}
- {name: passwords, mountPath: /etc/postroom/passwords, readOnly: true}
{{- end }}
{{- range $number, $name := .Values.setup.configMaps }}
- {name: config-map-{{ $number }}, mountPath: /etc/postroom/setup/config-maps/{{ $name }}, readOnly: true}
{{- end }}
{{- range $number, $name := .Values.setup.secrets }}
- {name: secret-{{ $number }}, mountPath: /etc/postroom/setup/secrets/{{ $name }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "postroom.setupVolumes" -}}
- name: declared
  configMap: {name: {{ include "postroom.name" (list . "setup") }}, defaultMode: 0440}
{{- with include "postroom.passwordSecrets" . | fromJson }}
- name: passwords
  projected:
    defaultMode: 0440
    # Optional: an account that is there needs its first password no more.
    sources:
      {{- range $path, $secret := . }}
      - secret:
          name: {{ $secret.name }}
          items: [{key: {{ $secret.key | quote }}, path: {{ $path | quote }}}]
          optional: true
      {{- end }}
{{- end }}
{{- range $number, $name := .Values.setup.configMaps }}
- name: config-map-{{ $number }}
  configMap: {name: {{ $name }}, defaultMode: 0440}
{{- end }}
{{- range $number, $name := .Values.setup.secrets }}
- name: secret-{{ $number }}
  secret: {secretName: {{ $name }}, defaultMode: 0440}
{{- end }}
{{- end -}}
