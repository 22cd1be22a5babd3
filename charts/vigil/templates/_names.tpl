{{/* Base of all names: at most 45 characters, so that every suffix fits into 63. What does not fit is told apart by a digest. */}}
{{- define "vigil.fullname" -}}
{{- $name := .Values.fullnameOverride | default (contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name)) -}}
{{- if and (le (len $name) 45) (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $name) -}}
{{- $name -}}
{{- else -}}
{{- printf "vigil-%s-%s" ($name | replace "." "-" | trunc 30 | trimSuffix "-") (sha256sum $name | trunc 8) -}}
{{- end -}}
{{- end -}}

{{- define "vigil.mlflow.name" -}}
{{ include "vigil.fullname" . }}-mlflow
{{- end -}}

{{- define "vigil.environment.name" -}}
{{ include "vigil.fullname" . }}-environment
{{- end -}}

{{- define "vigil.s3Secret.name" -}}
{{ .Values.s3.existingSecret | default (printf "%s-s3" (include "vigil.fullname" .)) }}
{{- end -}}

{{/* Empty without a private CA. */}}
{{- define "vigil.ca.name" -}}
{{- if .Values.ca.certificates -}}
{{ include "vigil.fullname" . }}-ca
{{- else -}}
{{ .Values.ca.existingConfigMap }}
{{- end -}}
{{- end -}}

{{- define "vigil.lines.name" -}}
{{ include "vigil.fullname" . }}-lines
{{- end -}}

{{- define "vigil.noLines.name" -}}
{{ include "vigil.fullname" . }}-no-lines
{{- end -}}

{{- define "vigil.clusterDefaults.name" -}}
{{ include "vigil.fullname" . }}-cluster-defaults
{{- end -}}

{{- define "vigil.schedule.name" -}}
{{ include "vigil.fullname" . }}-schedule
{{- end -}}

{{/* Image of a name: (list . "vigil-mlflow"). */}}
{{- define "vigil.image" -}}
{{- $root := first . -}}
{{ $root.Values.image.registry }}/{{ last . }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- end -}}

{{/* Labels of a component: (list . "mlflow"). */}}
{{- define "vigil.labels" -}}
{{- $root := first . -}}
{{ include "vigil.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: vigil
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "vigil.selector" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}
