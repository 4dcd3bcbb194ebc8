"""`crossfade init --from` a Deployment: what it has is taken over, what has no word of ours is said."""

from pathlib import Path

import pytest

from crossfade.config.deployment import is_deployment, takeover
from crossfade.config.load import load_text
from crossfade.core.errors import BadInputError

FULL = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: Shop-API, namespace: shop, resourceVersion: "7"}
spec:
  replicas: 3
  template:
    spec:
      serviceAccountName: api
      imagePullSecrets: [{name: registry}]
      terminationGracePeriodSeconds: 45
      nodeSelector: {disk: ssd}
      containers:
        - name: api
          image: registry.example:5000/shop/api:1.4.2
          args: [serve, "--format={json}"]
          ports: [{name: http, containerPort: 8000}, {containerPort: 9090}]
          env:
            - {name: MODE, value: "yes"}
            - {name: KEY, valueFrom: {secretKeyRef: {name: s, key: k}}}
          resources: {limits: {memory: 256Mi, cpu: 500m}, requests: {cpu: 100m}}
          livenessProbe: {httpGet: {path: /live, port: http}, periodSeconds: 5, timeoutSeconds: 2, failureThreshold: 4}
          readinessProbe: {httpGet: {path: /ready, port: 8000}}
          volumeMounts: [{name: data, mountPath: /data}]
"""


def test_what_a_deployment_has_is_taken_over():
    text = takeover(FULL, folder="shop")
    project = load_text(text, Path("crossfade.yaml")).project
    api, settings = project.components["shop-api"], project.environments["production"]
    assert (api.image, api.port, api.instances) == ("registry.example:5000/shop/api:{version}", 8000, 3)
    assert api.command == ("serve", "--format={{json}}")
    assert api.environment == {"MODE": "yes"}
    assert (api.resources.memory, api.resources.cpus) == (268_435_456, 0.5)
    assert (api.health.path, api.health.interval, api.health.timeout, api.health.failures) == ("/live", 5, 2, 4)
    assert (api.ready.path, api.drain.grace) == ("/ready", 45)
    assert settings.runtime.kind == "kubernetes"
    assert (settings.runtime.namespace, settings.runtime.service_account) == ("shop", "api")
    assert settings.runtime.pull_secrets == ("registry",)
    for left in ("nodeSelector", "volumeMounts", "port 9090", "the variable KEY (from secretKeyRef)", "requests"):
        assert f"# Not taken over: {left}" in text
    assert "deploy shop-api@1.4.2 production" in text


def test_a_list_of_them_and_those_that_stay():
    item = "\n".join(f"    {line}" for line in FULL.splitlines())
    two = f"apiVersion: v1\nkind: List\nitems:\n  -\n{item}\n"
    two += "  - {kind: Deployment, metadata: {name: worker}, spec: {template: {spec: {containers: [{image: w:1}]}}}}\n"
    assert is_deployment(two)
    text = takeover(two, folder="shop")
    assert list(load_text(text, Path("crossfade.yaml")).project.components) == ["shop-api"]
    assert "worker (its container names no port" in text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("kind: Deployment\nspec: {}", "init.deployment-nothing"),
        ("kind: Service", "init.deployment-nothing"),
        ("kind: Deployment\n\tx", "init.deployment"),
        (FULL + "---\n" + FULL.replace("namespace: shop", "namespace: other"), "init.deployment-namespaces"),
    ],
)
def test_what_cannot_be_taken_over_is_told(text, code):
    with pytest.raises(BadInputError) as told:
        takeover(text, folder="shop")
    assert told.value.code == code


def test_a_compose_file_is_none():
    assert not is_deployment("services:\n  api: {image: x, labels: {kind: DeploymentX}}\n")
