"""Runtimes of one target in a stand-in cluster, and what they run."""

from pathlib import Path

from kubernetes_controllers import Deployments
from kubernetes_metrics import Metrics
from kubernetes_node import Kubelet
from kubernetes_server import Server

from crossfade.cluster.names import Target
from crossfade.config.model import Component, Drain, Health
from crossfade.config.runtimes import KubernetesRuntime as Settings
from crossfade.runtimes.kubernetes import KubernetesRuntime
from crossfade.runtimes.port import Release
from free_ports import free_port

PORT = free_port()
"""What every container listens on, at its pod's own address; nobody else's on this machine."""


def cluster(*more):
    return Server(Kubelet(), Deployments(), Metrics(), *more)


def workload(*arguments, image="shop/api:{version}", grace=5.0, drain=0.0, **more):
    settings = {
        "image": image,
        "port": PORT,
        "command": ("{port}", *arguments),
        "health": Health(interval=1, timeout=2),
        "drain": Drain(timeout=drain, grace=grace),
    }
    return Component(**{**settings, **more})


def release(version="1.0.0", *arguments, **settings):
    return Release(version, workload(*arguments, **settings))


def make(kubeconfig, folder, *, namespace="shop", component="api", variables=None, **settings):
    """A runtime of one target, as a Crossfade that was started anew makes it."""
    target = Target("shop", "production", component, namespace)
    chosen = Settings(kubeconfig=kubeconfig, namespace=namespace, **settings)
    return KubernetesRuntime(chosen, target, folder=folder, root=Path("/"), variables=variables)
