"""A PodList as an API server would send it: realistic pods of about 4 KB with managed fields, volumes and statuses."""

import json
import random
from typing import Any


def pod(number: int, rng: random.Random, *, workloads: int, nodes: int) -> dict[str, Any]:
    """One running pod of one of `workloads` Deployments on one of `nodes` nodes."""
    owner = number % workloads
    name = f"service-{owner:04d}-{owner * 7919 % 0xFFFFF:05x}-{number:05x}"
    token = f"kube-api-access-{number:05x}"
    cpu, memory = f"{100 + 50 * (owner % 20)}m", f"{128 * (1 + owner % 16)}Mi"
    mounts = [
        {"name": "config", "mountPath": "/etc/service"},
        {"name": token, "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
    ]
    container = {
        "name": "main",
        "image": f"example.com/team-{owner % 12}/service-{owner:04d}:v1.{owner % 30}.0",
        "args": ["--listen=:8080", "--metrics=:9090", f"--shard={owner}"],
        "env": [{"name": f"SETTING_{i}", "value": f"value-{owner}-{i}-" + "x" * 24} for i in range(2)],
        "ports": [
            {"name": "http", "containerPort": 8080, "protocol": "TCP"},
            {"name": "metrics", "containerPort": 9090, "protocol": "TCP"},
        ],
        "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "2", "memory": "4Gi"}},
        "volumeMounts": mounts,
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
            "periodSeconds": 10,
            "failureThreshold": 3,
        },
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"},
            "periodSeconds": 5,
            "failureThreshold": 2,
        },
        "terminationMessagePath": "/dev/termination-log",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    labels = {
        "app.kubernetes.io/name": f"service-{owner:04d}",
        "app.kubernetes.io/part-of": f"team-{owner % 12}",
        "pod-template-hash": f"{owner * 7919 % 0xFFFFF:05x}",
    }
    fields: dict[str, dict[str, str]] = {f"f:{key}": {} for key in ("name", "image", "resources")}
    stamp = f"2026-10-{1 + number % 28:02d}T{number % 24:02d}:{number % 60:02d}:00Z"
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": stamp, "lastProbeTime": None}
        for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    affinity = {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "podAffinityTerm": {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": f"service-{owner:04d}"}},
                    },
                }
            ]
        }
    }
    return {
        "metadata": {
            "name": name, "generateName": name[:-5], "namespace": f"team-{owner % 12}", "uid": f"{rng.getrandbits(128):032x}", "resourceVersion": str(10_000_000 + number),
            "creationTimestamp": stamp, "labels": labels, "annotations": {"checksum/config": f"{owner:064x}", "prometheus.io/scrape": "true"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name[:-6], "uid": f"{owner:032x}", "controller": True, "blockOwnerDeletion": True}],
            "managedFields": [{"manager": manager, "operation": "Update", "apiVersion": "v1", "time": stamp, "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:containers": {'k:{"name":"main"}': fields}}}} for manager in ("kube-controller-manager", "kubelet")],
        },
        "spec": {
            "volumes": [{"name": "config", "configMap": {"name": f"service-{owner:04d}", "defaultMode": 420}}, {"name": token, "projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}, {"configMap": {"name": "kube-root-ca.crt"}}], "defaultMode": 420}}],
            "containers": [container], "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "serviceAccountName": f"service-{owner:04d}",
            "nodeName": f"node-{rng.randrange(nodes):05d}", "securityContext": {"fsGroup": 2000}, "schedulerName": "default-scheduler", "affinity": affinity,
            "tolerations": [{"key": f"node.kubernetes.io/{why}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300} for why in ("not-ready", "unreachable")],
            "priority": 0, "enableServiceLinks": True, "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {
            "phase": "Running", "conditions": conditions, "hostIP": "10.0.0.1", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}], "startTime": stamp, "qosClass": "Burstable",
            "containerStatuses": [{"name": "main", "state": {"running": {"startedAt": stamp}}, "lastState": {}, "ready": True, "restartCount": 0, "image": container["image"], "imageID": f"example.com/service@sha256:{owner:064x}", "containerID": f"containerd://{number:064x}", "started": True, "allocatedResources": {"cpu": cpu, "memory": memory}, "resources": container["resources"]}],
        },
    }  # fmt: skip


def podlist(count: int, *, workloads: int = 400, nodes: int = 1000, seed: int = 0) -> bytes:
    """A PodList of `count` pods as JSON."""
    rng = random.Random(seed)
    items = [pod(number, rng, workloads=workloads, nodes=nodes) for number in range(count)]
    return json.dumps(
        {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items},
        separators=(",", ":"),
    ).encode()
