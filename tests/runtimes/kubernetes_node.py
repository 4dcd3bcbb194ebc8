"""The node of the stand-in for a cluster: pods become processes of this machine.

Every pod has an address of its own on loopback (127.x.y.z), so that it listens on the port that its container names;
it is probed, restarted with back-off, told to end with TERM and then KILL, and its events are written as a kubelet
writes them. Its image's digest is told by its status, and by `BUILT` in its environment. There is no scheduler and no
isolation, and every pod pulls its image anew. Back-off begins at 0.2 s instead of 10 s.
"""

import asyncio
import contextlib
import copy
import itertools
import os
import signal
import socket
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from aiohttp import web
from kubernetes_images import IMAGES, Registry
from kubernetes_store import RefusedError, now

_ADDRESSES = itertools.count(2)
_NET = 64 + os.getpid() % 120


def address():
    number = next(_ADDRESSES)
    return f"127.{_NET}.{number // 250 % 250}.{number % 250 + 2}"


class Kubelet:
    """Runs each pod."""

    async def begin(self, server):
        self.server, self.store, self.runs, self.registry = server, server.store, {}, Registry()
        self.lost = self.by_hand = False
        server.kubelet = self
        self.session = aiohttp.ClientSession()
        self.store.hooks.append(self._changed)

    async def end(self):
        runs = list(self.runs.values())
        for run in runs:
            run.task.cancel()
            run.kill()
        await asyncio.gather(*(run.task for run in runs), return_exceptions=True)
        await asyncio.gather(*(run.process.wait() for run in runs if run.process), return_exceptions=True)
        await self.session.close()

    def _changed(self, key, kind, pod):
        if key[0] == "pods" and kind == "ADDED":
            self.runs[key[1:]] = run = Run(self, pod)
            run.task = asyncio.ensure_future(run.live())

    def leave(self, pod, grace):
        """Mark it as leaving, and end it; a grace of 0 forgets it at once."""
        made = copy.deepcopy(self.store.objects.get(self.store.key(pod)) or pod)
        run = self.runs.get((pod["metadata"]["namespace"], pod["metadata"]["name"]))
        if grace == "0":
            self.store.drop(made)
            return
        if "deletionTimestamp" not in made["metadata"]:
            seconds = int(grace) if grace else made["spec"].get("terminationGracePeriodSeconds", 30)
            made["metadata"].update(deletionTimestamp=now(), deletionGracePeriodSeconds=seconds)
            self.store.put(made)
            if run is not None and not self.lost:
                run.ending = asyncio.ensure_future(run.leave(seconds))

    def lose_node(self):
        """The node is not heard of any more: what runs there is not ready, and nothing ends."""
        self.lost = True
        for run in self.runs.values():
            run.lost()

    def run_of(self, name):
        return next(run for (_, each), run in self.runs.items() if each == name)

    async def serve(self, request, namespace, name, sub, rest):
        name = name.partition(":")[0]
        self.store.get("pods", namespace, name)
        run = self.runs[namespace, name]
        if sub == "proxy":
            if not run.listens():
                raise RefusedError(
                    503, "ServiceUnavailable", "error trying to reach service: connect: connection refused"
                )
            try:
                async with self.session.get(
                    f"{run.base()}/{'/'.join(rest)}", timeout=aiohttp.ClientTimeout(2)
                ) as answer:
                    return web.Response(status=answer.status, body=await answer.read())
            except (aiohttp.ClientError, TimeoutError) as error:
                raise RefusedError(503, "ServiceUnavailable", f"error trying to reach service: {error}") from None
        if run.began is None:
            raise RefusedError(
                400, "BadRequest", f'container "app" in pod "{name}" is waiting to start: ContainerCreating'
            )
        return await run.serve_log(request)


class Run:
    """One pod's container, over all of its starts."""

    def __init__(self, kubelet, pod):
        self.kubelet, self.store = kubelet, kubelet.store
        self.name, self.namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        self.container = pod["spec"]["containers"][0]
        self.ip, self.process, self.restarts, self.began, self.lines = address(), None, 0, None, []
        self.printed = asyncio.Condition()
        self.last, self.ready, self.started, self.leaving, self.ended, self.oom = (
            None,
            False,
            False,
            False,
            False,
            False,
        )
        self.since_ready = now()
        self.hidden, self.digest, self.image = False, None, ""
        self.task = self.ending = None

    @property
    def pod(self):
        return self.store.objects.get(("pods", self.namespace, self.name))

    def base(self):
        return f"http://{self.ip}:{self.container['ports'][0]['containerPort']}"

    def listens(self):
        return listens(self.ip, self.container["ports"][0]["containerPort"])

    async def live(self):
        self.report({"waiting": {"reason": "ContainerCreating"}}, "Pending")
        self.digest = self.kubelet.registry.pull(self.container["image"])
        if self.digest is None:
            return await self._no_image()
        self.image = self.container["image"].partition("@")[0].rpartition(":")[0]
        program = IMAGES[self.image]
        pause = 0.2
        while not self.leaving:
            probes = await self._start(program)
            code = await self.process.wait()
            await self.reader
            probes.cancel()
            self.process, self.started = None, False
            if self.leaving or self.pod is None:
                return None
            self.set_ready(False)
            reason = "OOMKilled" if self.oom else "Completed" if code == 0 else "Error"
            self.last = {
                "exitCode": code if code >= 0 else 128 - code,
                "reason": reason,
                "startedAt": self.began,
                "finishedAt": now(),
            }
            self.oom = False
            if self.restarts:
                said = f"back-off restarting failed container=app pod={self.name}"
                self.report({"waiting": {"reason": "CrashLoopBackOff", "message": said}}, "Running")
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5)
            self.restarts += 1
        return None

    async def _no_image(self):
        image = self.container["image"]
        said = f'failed to pull and unpack image "{image}": not found'
        for reason, message in (
            ("ErrImagePull", said),
            ("ImagePullBackOff", f'Back-off pulling image "{image}": {said}'),
        ):
            self.report({"waiting": {"reason": reason, "message": message}}, "Pending")
            await asyncio.sleep(0.1)

    async def _start(self, program):
        values = {"POD_IP": self.ip, "BUILT": self.digest}
        for each in self.container.get("env", ()):
            values[each["name"]] = self.name if "valueFrom" in each else expand(each["value"], values)
        arguments = [expand(each, values) for each in self.container.get("args", ())]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **values}
        if program[1] == "-m":
            port = str(self.container["ports"][0]["containerPort"])
            arguments = ["--host", self.ip, "--port", port, "--version", values["CROSSFADE_VERSION"], *arguments]
        self.process = await asyncio.create_subprocess_exec(
            *program, *arguments, env=environment, start_new_session=True,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        self.began = now()
        self.reader = asyncio.ensure_future(self._read(self.process.stdout))
        self.report({"running": {"startedAt": self.began}}, "Running")
        return asyncio.ensure_future(self._probe())

    async def _read(self, stream):
        while line := await stream.readline():
            stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
            self.lines.append((stamp, line.decode("utf-8", "replace").rstrip("\n")))
            async with self.printed:
                self.printed.notify_all()

    # -- probes ---------------------------------------------------------------------------------------

    async def _probe(self):
        failed = {"startupProbe": 0, "livenessProbe": 0, "readinessProbe": 0}
        while True:
            kinds = ("livenessProbe", "readinessProbe") if self.started else ("startupProbe",)
            for kind in [each for each in kinds if each in self.container]:
                wrong = await self._ask(self.container[kind])
                failed[kind] = failed[kind] + 1 if wrong else 0
                if wrong:
                    self._event(kind.removesuffix("Probe").capitalize() + f" probe failed: {wrong}")
                enough = failed[kind] >= self.container[kind].get("failureThreshold", 3)
                if kind == "readinessProbe" and (not wrong or enough):
                    self.set_ready(not wrong)
                elif kind != "readinessProbe" and enough and self.process:
                    self._event(
                        f"Container app failed {kind.removesuffix('Probe')} probe, will be restarted", "Killing"
                    )
                    self.kill(signal.SIGTERM)
            if not self.started and not failed["startupProbe"]:
                self.started = True
                self.report({"running": {"startedAt": self.began}}, "Running")
                continue
            period = self.container["readinessProbe"].get("periodSeconds", 10)
            await asyncio.sleep(
                period if self.ready or failed["startupProbe"] > 2 else 0.1
            )  # a kubelet hurries too at first

    async def _ask(self, probe):
        if not self.listens():
            return f'Get "{self.base()}{probe["httpGet"]["path"]}": dial tcp: connect: connection refused'
        limit = aiohttp.ClientTimeout(probe.get("timeoutSeconds", 1))
        try:
            async with self.kubelet.session.get(self.base() + probe["httpGet"]["path"], timeout=limit) as answer:
                return "" if 200 <= answer.status < 400 else f"HTTP probe failed with statuscode: {answer.status}"
        except TimeoutError:
            return f'Get "{self.base()}{probe["httpGet"]["path"]}": context deadline exceeded'
        except aiohttp.ClientError:
            return f'Get "{self.base()}{probe["httpGet"]["path"]}": dial tcp: connect: connection refused'

    def _event(self, message, reason="Unhealthy"):
        key = f"{self.name}.{abs(hash((message, self.restarts))):x}"[:60]
        there = self.store.objects.get(("events", self.namespace, key))
        about = {"kind": "Pod", "name": self.name, "namespace": self.namespace}
        self.store.put(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": key, "namespace": self.namespace},
                "involvedObject": about,
                "reason": reason,
                "message": message,
                "type": "Warning",
                "count": there["count"] + 1 if there else 1,
                "lastTimestamp": now(),
            }
        )

    # -- telling --------------------------------------------------------------------------------------

    def set_ready(self, ready):
        if ready != self.ready:
            self.ready, self.since_ready = ready, now()
            self.report(self._state(), "Running")

    def _state(self):
        return {"running": {"startedAt": self.began}} if self.process else {"waiting": {"reason": "CrashLoopBackOff"}}

    def report(self, state, phase):
        if self.pod is None or self.hidden:
            return
        status = {
            "name": "app", "ready": self.ready, "started": self.started, "restartCount": self.restarts,
            "image": self.container["image"], "imageID": self.image_id(), "state": state, "lastState": {"terminated": self.last} if self.last else {},
        }  # fmt: skip
        ready = {"type": "Ready", "status": "True" if self.ready else "False", "lastTransitionTime": self.since_ready}
        self.store.status(self.pod, phase=phase, podIP=self.ip, conditions=[ready], containerStatuses=[status])

    def image_id(self):
        """As containerd tells it; where an image was put on the node by hand there is no name in front."""
        if self.digest is None or self.began is None:
            return ""
        return self.digest if self.kubelet.by_hand else f"docker.io/{self.image}@{self.digest}"

    def lost(self):
        self.ready, self.since_ready = False, now()
        ready = {"type": "Ready", "status": "Unknown", "reason": "NodeNotReady", "lastTransitionTime": now()}
        self.store.status(self.pod, conditions=[ready])
        self.hidden = True

    # -- ending ---------------------------------------------------------------------------------------

    def kill(self, how=signal.SIGKILL):
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, how)

    async def leave(self, grace):
        self.leaving = True
        if self.process is None:
            self.task.cancel()
        else:
            self.set_ready(False)
            try:
                async with asyncio.timeout(grace):
                    await asyncio.sleep(
                        self.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
                    )
                    self.kill(signal.SIGTERM)
                    await asyncio.shield(self.task)
            except TimeoutError:
                self.kill()
                await self.task
        self.ended = True
        async with self.printed:
            self.printed.notify_all()
        await asyncio.sleep(0.02)
        if self.pod is not None:
            self.store.drop(self.pod)
        self.kubelet.runs.pop((self.namespace, self.name), None)

    async def serve_log(self, request):
        stamps, tail = request.query.get("timestamps") == "true", request.query.get("tailLines")
        place = max(0, len(self.lines) - int(tail)) if tail is not None else 0

        def text(lines):
            return "".join(f"{stamp} {line}\n" if stamps else f"{line}\n" for stamp, line in lines).encode()

        if request.query.get("follow") != "true":
            return web.Response(body=text(self.lines[place:]), content_type="text/plain")
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        restarts = self.restarts
        while True:
            fresh = self.lines[place:]
            place += len(fresh)
            if fresh:
                await answer.write(text(fresh))
            if self.ended or self.restarts != restarts:
                return answer
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2), self.printed:
                    await self.printed.wait()


def listens(ip, port):
    """Whether somebody listens there."""
    wanted = f"{socket.inet_aton(ip)[::-1].hex().upper()}:{port:04X}"
    with Path("/proc/net/tcp").open() as table:
        return any(line.split()[1] == wanted and line.split()[3] == "0A" for line in table)


def expand(text, values):
    """`$(NAME)` as a kubelet replaces it, `$$` as `$`."""
    made, rest = "", text
    while rest:
        before, dollar, rest = rest.partition("$")
        made += before
        if not dollar:
            break
        if rest.startswith("$"):
            made, rest = made + "$", rest[1:]
        elif rest.startswith("(") and ")" in rest:
            name, _, rest = rest[1:].partition(")")
            made += values.get(name, f"$({name})")
        else:
            made += "$"
    return made
