"""The Kubernetes runtime: a slot is a Deployment and a Service of its own, and an instance is a pod.

Kubernetes starts, probes and restarts; we say what is wanted, and tell what a person needs of what it says. Labels
make objects ours; all others are never touched. What is there is kept by a watch, so that a look costs nothing.
"""

from crossfade.runtimes.kubernetes.runtime import KubernetesRuntime

__all__ = ["KubernetesRuntime"]
