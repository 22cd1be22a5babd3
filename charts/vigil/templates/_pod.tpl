{{/* What all pods share: (list . placement), where placement has nodeSelector, tolerations, affinity. */}}
{{- define "vigil.pod" -}}
{{- $root := first . -}}
{{- $placement := last . -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $placement.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $placement.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $placement.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Image and security of a container: (list . "vigil-mlflow"). */}}
{{- define "vigil.container" -}}
{{- $root := first . -}}
image: {{ include "vigil.image" . }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
securityContext:
  {{- toYaml $root.Values.containerSecurityContext | nindent 2 }}
{{- end -}}

{{/* Keys of the object store, from the Secret. */}}
{{- define "vigil.s3Keys" -}}
{{- $secret := include "vigil.s3Secret.name" . -}}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: AWS_ACCESS_KEY_ID
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: AWS_SECRET_ACCESS_KEY
- name: AWS_SESSION_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: AWS_SESSION_TOKEN
      optional: true
{{- end -}}

{{- define "vigil.caFile" -}}
/etc/vigil/ca/{{ .Values.ca.key }}
{{- end -}}

{{- define "vigil.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if include "vigil.ca.name" . }}
- name: ca
  mountPath: /etc/vigil/ca
  readOnly: true
{{- end }}
{{- end -}}

{{- define "vigil.volumes" -}}
- name: tmp
  emptyDir: {}
{{- with include "vigil.ca.name" . }}
- name: ca
  configMap:
    name: {{ . }}
{{- end }}
{{- end -}}
