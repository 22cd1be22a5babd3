{{/* Where the exporter and the watch find MLflow, and its login where clusterDefaults names one. */}}
{{- define "vigil.monitoring.environment" -}}
- name: MLFLOW_TRACKING_URI
  value: {{ include "vigil.mlflow.uri" . | quote }}
- name: MLFLOW_DISABLE_TELEMETRY
  value: "true"
{{- if include "vigil.ca.name" . }}
- name: MLFLOW_TRACKING_SERVER_CERT_PATH
  value: {{ include "vigil.caFile" . | quote }}
- name: SSL_CERT_FILE
  value: {{ include "vigil.caFile" . | quote }}
{{- end }}
{{- end -}}

{{- define "vigil.monitoring.login" -}}
{{- with .Values.clusterDefaults.mlflow_secret }}
envFrom:
  - secretRef:
      name: {{ . }}
{{- end }}
{{- end -}}
