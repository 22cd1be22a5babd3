{{/*
A value as YAML in flow style, which YAML 1.1 and 1.2 read alike. Helm reads every number of a values file as a float
and prints 1.0e-6 as 1e-06, which is a text in YAML 1.1: numbers get a dot before the exponent, and whole numbers none.
*/}}
{{- define "vigil.flow" -}}
{{- if kindIs "map" . -}}
{{- $items := list -}}
{{- range $key, $value := . -}}
{{- $items = append $items (printf "%s: %s" (toJson $key) (include "vigil.flow" $value)) -}}
{{- end -}}
{ {{- join ", " $items -}} }
{{- else if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . -}}
{{- $items = append $items (include "vigil.flow" .) -}}
{{- end -}}
[ {{- join ", " $items -}} ]
{{- else if kindIs "float64" . -}}
{{- regexReplaceAll "^(-?[0-9]+)e" (toJson .) "${1}.0e" -}}
{{- else -}}
{{- toRawJson . -}}
{{- end -}}
{{- end -}}

{{/* A map as YAML, one key a line. */}}
{{- define "vigil.yaml" -}}
{{- range $key, $value := . }}
{{ $key }}: {{ include "vigil.flow" $value }}
{{- end }}
{{- end -}}
