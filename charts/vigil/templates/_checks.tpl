{{/* What the schema cannot say about values that belong together. */}}
{{- define "vigil.checks" -}}
{{- if not .Values.image.registry -}}
{{- fail "image.registry: got nothing, expected the registry and path in front of the images, such as images.factory.example/vision" -}}
{{- end -}}
{{- $keys := or .Values.s3.accessKeyId .Values.s3.secretAccessKey -}}
{{- if and .Values.s3.existingSecret $keys -}}
{{- fail "s3: got existingSecret and keys, expected either existingSecret, or accessKeyId and secretAccessKey" -}}
{{- end -}}
{{- if and $keys (not (and .Values.s3.accessKeyId .Values.s3.secretAccessKey)) -}}
{{- fail "s3: got one key, expected accessKeyId and secretAccessKey" -}}
{{- end -}}
{{- if not (or .Values.s3.existingSecret $keys) -}}
{{- fail "s3: got no keys, expected existingSecret, or accessKeyId and secretAccessKey" -}}
{{- end -}}
{{- if and .Values.ca.existingConfigMap .Values.ca.certificates -}}
{{- fail "ca: got existingConfigMap and certificates, expected one of them" -}}
{{- end -}}
{{- if and .Values.mlflow.enabled .Values.mlflow.trackingUri -}}
{{- fail "mlflow.trackingUri: got the address of another server, expected mlflow.enabled=false with it" -}}
{{- end -}}
{{- if not (or .Values.mlflow.enabled .Values.mlflow.trackingUri) -}}
{{- fail "mlflow.trackingUri: got nothing, expected the address of a server with mlflow.enabled=false" -}}
{{- end -}}
{{- range $name := list "replicas" "workers" -}}
{{- if and (gt (int (get $.Values.mlflow $name)) 1) (not $.Values.mlflow.database.existingSecret) -}}
{{- fail (printf "mlflow.%s: got %v, expected 1 with sqlite; more need mlflow.database.existingSecret" $name (get $.Values.mlflow $name)) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.mlflow.ingress.enabled (not .Values.mlflow.ingress.host) -}}
{{- fail "mlflow.ingress.host: got nothing, expected the host name of the ingress" -}}
{{- end -}}
{{- $defaults := include "vigil.clusterDefaults" . | fromJson -}}
{{- $mounted := dict -}}
{{- range $key := list "config_map" "s3_secret" "mlflow_secret" "ca_config_map" -}}
{{- with get $defaults $key -}}
{{- if hasKey $mounted . -}}
{{- fail (printf "clusterDefaults.%s: got %q, expected another name than %s, as a task's pod has a volume of each name" $key . (get $mounted .)) -}}
{{- end -}}
{{- $mounted = set $mounted . $key -}}
{{- end -}}
{{- end -}}
{{- range $name, $line := .Values.lines -}}
{{- if ne (dig "name" $name $line) $name -}}
{{- fail (printf "lines.%s.name: got %q, expected %q or no name" $name $line.name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
