"""Values that switch every part of the chart on or off; all tests that hold for any release run over them."""

from collections.abc import Mapping
from typing import Any

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
LINE: Mapping[str, Any] = {
    "object": "metal nut",
    "dataset": {"uri": "s3://lines/metal-nut", "shots": 4},
    "schedule": {"cron": "0 0 2 * * *"},
}
ACCESS_KEY, SECRET_KEY = "AKIAINSPECTOR", "correct-horse/battery+staple=="

TOGGLES: Mapping[str, Mapping[str, Any]] = {
    "defaults": {},
    "one line": {"lines": {"metal-nut": LINE}},
    "created secret": {"s3": {"existingSecret": "", "accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}},
    "endpoint": {"s3": {"endpoint": "https://store.example:9000", "region": "eu-central-1", "addressing": "path"}},
    "own authority": {"ca": {"certificates": CERTIFICATE}},
    "existing authority": {"ca": {"existingConfigMap": "company-ca", "key": "bundle.pem"}},
    "no buckets": {"buckets": {"create": False}},
    "more buckets": {"buckets": {"uris": ["s3://lines/metal-nut", "s3://weights", "s3://mlflow/other"]}},
    "multi-user": {"kfp": {"multiUser": True}},
    "user interface": {"kfp": {"ui": "https://kubeflow.example/pipeline"}},
    "weights mirror": {"weightsMirror": "s3://weights/mirror"},
    "weights manifest": {"weightsManifest": "s3://weights/base/weights.yaml"},
    "network": {"network": {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": ".svc", "VIGIL_NET_ATTEMPTS": 9}},
    "checkpoints": {"checkpoints": "s3://weights/loops"},
    "no schedule": {"schedule": {"enabled": False}},
    "shared scheduler": {"schedule": {"prune": False}},
    "schedules outlive the release": {"schedule": {"removeOnUninstall": False}},
    "other tracking server": {"mlflow": {"enabled": False, "trackingUri": "https://mlflow.example"}},
    "postgresql": {"mlflow": {"database": {"existingSecret": "postgres", "key": "dsn"}, "replicas": 3, "workers": 4}},
    "no volume": {"mlflow": {"persistence": {"enabled": False}}},
    "existing claim": {"mlflow": {"persistence": {"existingClaim": "tracking-data"}}},
    "storage class": {"mlflow": {"persistence": {"storageClass": "fast", "size": "50Gi", "keep": False}}},
    "service port": {"mlflow": {"service": {"type": "NodePort", "port": 80, "annotations": {"team": "vision"}}}},
    "ingress": {"mlflow": {"ingress": {"enabled": True, "host": "mlflow.example", "annotations": {"team": "vision"}}}},
    "ingress with TLS": {
        "mlflow": {
            "ingress": {"enabled": True, "host": "mlflow.example", "tlsSecret": "mlflow-tls", "className": "nginx"},
            "allowedHosts": ["tracking.example"],
            "allowedOrigins": ["https://tracking.example"],
        }
    },
    "network policy": {
        "networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]}
    },
    "network policy of jobs": {
        "networkPolicy": {"enabled": True},
        "mlflow": {"enabled": False, "trackingUri": "https://mlflow.example"},
    },
    "placement": {
        "mlflow": {
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
            "podLabels": {"team": "vision"},
            "podAnnotations": {"team": "vision"},
        },
        "jobs": {
            "nodeSelector": {"disk": "hdd"},
            "tolerations": [{"key": "jobs", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "podLabels": {"team": "jobs"},
            "podAnnotations": {"team": "jobs"},
        },
        "serviceAccount": {"annotations": {"team": "vision"}},
    },
    "images": {"image": {"registry": "images.example/vision", "tag": "1.2.3", "pullSecrets": ["pull"]}},
    "cluster defaults": {
        "clusterDefaults": {
            "task": {"cpu": "2", "memory": "4Gi"},
            "vqgan": {"gpu": 1, "node_selector": {"accelerator": "a100"}},
            "detection": {"tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]},
            "retries": 1,
            "labels": {"team": "vision"},
        }
    },
    "cluster defaults switched off": {
        "image": {"pullSecrets": ["pull"]},
        "ca": {"certificates": CERTIFICATE},
        "clusterDefaults": {
            "config_map": "",
            "s3_secret": "",
            "ca_config_map": "",
            "image_pull_secrets": [],
            "retries": 0,
        },
    },
    "watching": {
        "webhook": {"existingSecret": "hook"},
        "watch": {"enabled": True, "cron": "0 * * * *", "retriedMinutes": 5, "silentMinutes": 30, "overdueDays": 2},
        "exporter": {
            "enabled": True,
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "rules": {"enabled": True, "labels": {"release": "prometheus"}, "minMetric": 0.9, "overdueDays": 2},
        },
        "clusterDefaults": {"mlflow_secret": "mlflow-login"},
        "network": {"HTTPS_PROXY": "http://proxy.example:3128"},
    },
    "serving": {
        "serving": {
            "enabled": True,
            "models": {
                "metal-nut": {"version": "3", "storageUri": "s3://mlflow/1/models/m-1/artifacts/detector"},
                "4.Bolt_": {"version": 12, "storageUri": "s3://mlflow/2/m", "canaryPercent": 10},
            },
            "serviceAccountName": "kserve-store",
        }
    },
    "queue": {"kueue": {"queue": "vision"}, "clusterDefaults": {"labels": {"team": "vision"}}},
    "names": {"fullnameOverride": "inspection", "clusterDomain": "factory.local"},
}
