{{/* Address of the tracking server for the pipeline's tasks. */}}
{{- define "vigil.mlflow.uri" -}}
{{- if .Values.mlflow.enabled -}}
http://{{ include "vigil.mlflow.name" . }}.{{ .Release.Namespace }}.svc:{{ .Values.mlflow.service.port }}
{{- else -}}
{{ .Values.mlflow.trackingUri }}
{{- end -}}
{{- end -}}

{{/* Host headers that the server answers: the service's names with and without port, the ingress, further hosts. */}}
{{- define "vigil.mlflow.allowedHosts" -}}
{{- $service := include "vigil.mlflow.name" . -}}
{{- $namespaced := printf "%s.%s" $service .Release.Namespace -}}
{{- $hosts := list -}}
{{- range list $service $namespaced (printf "%s.svc" $namespaced) (printf "%s.svc.%s" $namespaced .Values.clusterDomain) -}}
{{- $hosts = append $hosts . -}}
{{- $hosts = append $hosts (printf "%s:%v" . $.Values.mlflow.service.port) -}}
{{- end -}}
{{- if .Values.mlflow.ingress.enabled -}}
{{- $hosts = append $hosts .Values.mlflow.ingress.host -}}
{{- end -}}
{{- concat $hosts .Values.mlflow.allowedHosts | uniq | join "," -}}
{{- end -}}

{{/* Pages that may write through a browser; a page of the server's own is one of them only when it is named here. */}}
{{- define "vigil.mlflow.allowedOrigins" -}}
{{- $origins := list -}}
{{- if .Values.mlflow.ingress.enabled -}}
{{- $scheme := empty .Values.mlflow.ingress.tlsSecret | ternary "http" "https" -}}
{{- $origins = append $origins (printf "%s://%s" $scheme .Values.mlflow.ingress.host) -}}
{{- end -}}
{{- concat $origins .Values.mlflow.allowedOrigins | uniq | join "," -}}
{{- end -}}

{{- define "vigil.mlflow.database" -}}
- name: MLFLOW_BACKEND_STORE_URI
{{- if .Values.mlflow.database.existingSecret }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.mlflow.database.existingSecret }}
      key: {{ .Values.mlflow.database.key }}
{{- else }}
  value: sqlite:////mlflow/mlflow.db
{{- end }}
{{- end -}}
