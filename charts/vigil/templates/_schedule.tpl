{{/* Section `cluster` of all lines as JSON: names that the chart knows, overridden by clusterDefaults. */}}
{{- define "vigil.clusterDefaults" -}}
{{- $known := dict "config_map" (include "vigil.environment.name" .) "s3_secret" (include "vigil.s3Secret.name" .) -}}
{{- with include "vigil.ca.name" . -}}
{{- $known = set $known "ca_config_map" . -}}
{{- end -}}
{{- with .Values.image.pullSecrets -}}
{{- $known = set $known "image_pull_secrets" . -}}
{{- end -}}
{{- with .Values.webhook.existingSecret -}}
{{- $known = set $known "webhook_secret" . -}}
{{- end -}}
{{- range $key, $value := .Values.clusterDefaults -}}
{{- $known = set $known $key $value -}}
{{- end -}}
{{- with .Values.kueue.queue -}}
{{- $queue := dict "kueue.x-k8s.io/queue-name" . -}}
{{- $known = set $known "labels" (merge (dict) (get $known "labels" | default dict) $queue) -}}
{{- end -}}
{{- toJson $known -}}
{{- end -}}

{{/* Pod of a job that applies the lines of a ConfigMap: (list . name). */}}
{{- define "vigil.schedule.pod" -}}
{{- $root := first . -}}
metadata:
  labels:
    {{- include "vigil.labels" (list $root "schedule") | nindent 4 }}
    {{- with $root.Values.jobs.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $root.Values.jobs.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "vigil.pod" (list $root $root.Values.jobs) | nindent 2 }}
  serviceAccountName: {{ include "vigil.schedule.name" $root }}
  restartPolicy: Never
  containers:
    - name: schedule
      {{- include "vigil.container" (list $root "vigil-python-cli") | nindent 6 }}
      command: [vigil, schedule, apply]
      args:
        - /lines
        - --cluster-defaults
        - /lines-defaults/cluster.yaml
        {{- if not $root.Values.schedule.prune }}
        - --no-prune
        {{- end }}
        {{- if $root.Values.kfp.multiUser }}
        - --namespace
        - {{ $root.Release.Namespace }}
        {{- end }}
      {{- if $root.Values.weightsManifest }}
      # The job reads the manifest for the lines that name weights of it.
      envFrom:
        - configMapRef:
            name: {{ include "vigil.environment.name" $root }}
      {{- end }}
      env:
        {{- if $root.Values.weightsManifest }}
        {{- include "vigil.s3Keys" $root | nindent 8 }}
        {{- end }}
        - name: KF_PIPELINES_ENDPOINT
          value: {{ $root.Values.kfp.endpoint | quote }}
        - name: VIGIL_IMAGE_REGISTRY
          value: {{ $root.Values.image.registry | quote }}
        {{- if include "vigil.ca.name" $root }}
        - name: SSL_CERT_FILE
          value: {{ include "vigil.caFile" $root | quote }}
        {{- end }}
        {{- if $root.Values.kfp.multiUser }}
        - name: KF_PIPELINES_SA_TOKEN_PATH
          value: /var/run/secrets/kubeflow/pipelines/token
        {{- end }}
      resources:
        {{- toYaml $root.Values.schedule.resources | nindent 8 }}
      volumeMounts:
        {{- include "vigil.mounts" $root | nindent 8 }}
        - name: lines
          mountPath: /lines
          readOnly: true
        - name: lines-defaults
          mountPath: /lines-defaults
          readOnly: true
        {{- if $root.Values.kfp.multiUser }}
        - name: token
          mountPath: /var/run/secrets/kubeflow/pipelines
          readOnly: true
        {{- end }}
  volumes:
    {{- include "vigil.volumes" $root | nindent 4 }}
    - name: lines
      configMap:
        name: {{ last . }}
    - name: lines-defaults
      configMap:
        name: {{ include "vigil.clusterDefaults.name" $root }}
    {{- if $root.Values.kfp.multiUser }}
    - name: token
      projected:
        sources:
          - serviceAccountToken:
              path: token
              audience: pipelines.kubeflow.org
              expirationSeconds: 3600
    {{- end }}
{{- end -}}
