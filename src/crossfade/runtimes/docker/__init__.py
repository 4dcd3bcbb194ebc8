"""The Docker runtime: an instance is a container, and its labels say all that is needed to adopt it.

Names are derived from project, environment, component, slot and index, so the engine itself refuses a double,
whoever asks. What was wanted, which bytes a version is, and whether an instance was ready when it was last asked
stand in small files of the run state; without them everything goes on, only less is known. Docker starts again
what ended, so instances live on without Crossfade; the health probes are ours, as only they see what users see.
"""

from crossfade.runtimes.docker.runtime import DockerRuntime

__all__ = ["DockerRuntime"]
