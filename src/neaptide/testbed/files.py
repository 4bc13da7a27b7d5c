"""What a control plane's directory holds before its processes start: keys, kubeconfigs, the audit policy."""

import base64
import json
import os
import subprocess
from pathlib import Path

from neaptide.testbed.components import COMPONENTS, Site
from neaptide.testbed.errors import TestbedError

ADMIN = "admin"

AUDIT_POLICY = """\
# Who did what to which object, without contents; heartbeats are left out.
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    resources: [{group: coordination.k8s.io, resources: [leases]}]
    userGroups: [system:nodes]
  - level: None
    users: [kwok]
    resources:
      - {group: coordination.k8s.io, resources: [leases]}
      - {group: "", resources: [nodes/status]}
  - level: None
    nonResourceURLs: ["/healthz*", "/readyz*", "/livez*"]
  - level: Metadata
"""

KWOK_OPTIONS = """\
# So many nodes, pods and leases at a time; of kwok's own four, each waits for the API server's answer.
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokConfiguration
options:
  nodePlayStageParallelism: 32
  podPlayStageParallelism: 32
  nodeLeaseParallelism: 16
---
# As kwok's own pod-complete, but a Job's pod runs as long as its annotation says.
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: pod-complete}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
      - {key: .metadata.deletionTimestamp, operator: DoesNotExist}
      - {key: .status.phase, operator: In, values: [Running]}
      - {key: ".metadata.ownerReferences.[].kind", operator: In, values: [Job]}
  delay:
    durationMilliseconds: 0
    durationFrom: {expressionFrom: '.metadata.annotations["pod-complete.stage.kwok.x-k8s.io/delay"]'}
  next:
    statusTemplate: |
      {{ $now := Now }}
      {{ $root := . }}
      containerStatuses:
      {{ range $index, $item := .spec.containers }}
      {{ $origin := index $root.status.containerStatuses $index }}
      - image: {{ $item.image | Quote }}
        name: {{ $item.name | Quote }}
        ready: false
        restartCount: 0
        started: false
        state:
          terminated:
            exitCode: 0
            finishedAt: {{ $now | Quote }}
            reason: Completed
            startedAt: {{ $origin.state.running.startedAt | Quote }}
      {{ end }}
      phase: Succeeded
"""


def prepare(site: Site) -> None:
    """Make what is missing. Kubeconfigs are written anew each time: ports may have moved."""
    for folder in (site.directory, site.directory / "logs", site.directory / "etcd"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = subprocess.run(
        [site.programs / "testbed-pki", site.directory / "pki"], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise TestbedError(made.stderr.strip())
    for user in (ADMIN, *(component.user for component in COMPONENTS if component.user)):
        write_private(Path(site.kubeconfig(user)), kubeconfig(site, user))
    write_private(site.directory / "audit-policy.yaml", AUDIT_POLICY)
    write_private(site.directory / "kwok.yaml", KWOK_OPTIONS)


def kubeconfig(site: Site, user: str, server: str = "") -> str:
    """A kubeconfig that stands alone: keys and certificates are in it. It is JSON, which is YAML too. It leads to the API server, unless told where."""
    name = "neaptide-testbed"
    cluster = {
        "server": server or site.address("kube-apiserver"),
        "certificate-authority-data": _encoded(site.pki("ca.crt")),
    }
    credentials = {
        "client-certificate-data": _encoded(site.pki(f"{user}.crt")),
        "client-key-data": _encoded(site.pki(f"{user}.key")),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    }
    return json.dumps(content, indent=2) + "\n"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, and all of it or nothing."""
    beside = path.with_name(path.name + ".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    beside.rename(path)


def _encoded(path: str) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode()
