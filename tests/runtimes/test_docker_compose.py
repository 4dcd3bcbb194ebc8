"""From a Compose file to a crossfade.yaml; and what `check` says of components that cannot run."""

import subprocess
import sys
from pathlib import Path

import pytest

from crossfade.config.compose import takeover
from crossfade.config.load import ConfigError, load_text
from crossfade.core.errors import BadInputError

COMPOSE = """\
name: shop
x-common: &common {LOG: info}
services:
  api:
    image: registry.example:5000/shop/api:${TAG:-1.4.2}
    command: serve --port 8000 --greet "{hello} you"
    ports: ["8080:8000", "9000:9000", "53:53/udp"]
    environment: {<<: *common, PASSWORD: "${DB_PASSWORD}", FLAG: true, PRICE: "$$5", TOKEN: }
    env_file: .env
    depends_on: [db]
    networks: [back, shared]
    volumes: ["./conf:/etc/api:ro"]
    healthcheck: {test: ["CMD", "curl", "-f", "http://localhost:8000/health?x=1"], interval: 10s, timeout: 3s, retries: 5}
    deploy: {replicas: 3, resources: {limits: {memory: 512M, cpus: "0.5"}}}
    stop_grace_period: 1m30s
  Web_Site:
    image: nginx
    ports: [{target: 80, published: 60000, host_ip: 127.0.0.1}]
    environment: ["A=1=2", "B", "C="]
  db:
    image: postgres:16
    ports: ["5432:5432"]
    volumes: ["data:/var/lib/postgresql/data"]
  worker:
    build: .
  queue:
    image: redis:7
networks: {back: {}, shared: {external: true}}
"""


@pytest.fixture
def taken():
    text = takeover(COMPOSE, folder="anything")
    loaded = load_text(text, Path("crossfade.yaml"))
    assert not [each for each in loaded.warnings if each.code == "config.no-image"]
    return text, loaded.project


def test_what_is_found_is_written_down(taken):
    _, project = taken
    assert (project.project, sorted(project.components)) == ("shop", ["api", "web-site"])
    api, web = project.components["api"], project.components["web-site"]
    assert (api.image, api.port, api.instances) == ("registry.example:5000/shop/api:{version}", 8000, 3)
    assert api.command == ("serve", "--port", "8000", "--greet", "{{hello}} you")
    assert api.environment == {"LOG": "info", "FLAG": "true", "PRICE": "$5"}
    assert (api.resources.memory, api.resources.cpus) == (512 * 1024**2, 0.5)
    assert (api.health.path, api.health.interval, api.health.timeout, api.health.failures) == ("/health?x=1", 10, 3, 5)
    assert api.drain.grace == 90
    assert (web.image, web.environment) == ("nginx:{version}", {"A": "1=2", "C": ""})
    runtime = project.environments["production"].runtime
    assert (runtime.kind, runtime.networks) == ("docker", ("shared", "shop_back", "shop_default"))
    assert project.environments["production"].listen == {"api": "0.0.0.0:18080", "web-site": "127.0.0.1:50000"}


def test_what_is_not_is_said(taken):
    text, _ = taken
    assert "crossfade deploy api@1.4.2 production" in text
    for left in ("port 9000 (a component has one)", "the mount ./conf:/etc/api:ro", "env_file: write", "depends_on"):
        assert f"# Not taken over: {left}" in text
    for stays in ("db (it writes to data:/var/lib", "worker (it names no image", "queue (it publishes no port"):
        assert f"#   {stays}" in text
    for variable in ("PASSWORD", "TOKEN", "B"):
        assert f"# {variable}: write its value" in text
    assert "DB_PASSWORD" not in text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("services: [", "init.compose"),
        ("- a", "init.compose"),
        ("services: {}\n---\nservices: {}", "init.compose"),
        ("version: '3'", "init.compose"),
        ("services: {db: {image: postgres}}", "init.compose-nothing"),
    ],
)
def test_what_cannot_be_taken_over(text, code):
    with pytest.raises(BadInputError) as refused:
        takeover(text, folder="shop")
    assert refused.value.code == code


def init(folder, *words):
    command = [sys.executable, "-m", "crossfade.cli.main", "init", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_by_command(tmp_path):
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    done = init(tmp_path, "--from", "compose.yaml")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "crossfade.yaml").read_text().startswith("# Written from a Compose file.")
    again = init(tmp_path, "--from", "compose.yaml")
    assert (again.returncode, "is here already" in again.stderr) == (2, True)
    nothing = init(tmp_path, "--from", "none.yaml")
    assert (nothing.returncode, "none.yaml cannot be read" in nothing.stderr) == (2, True)


def codes(component, runtime):
    text = f"project: p\ncomponents: {{api: {component}}}\nenvironments: {{live: {{runtime: {runtime}}}}}\n"
    try:
        return {each.code for each in load_text(text, Path("crossfade.yaml")).warnings}
    except ConfigError as error:
        return {each.code for each in error.faults}


@pytest.mark.parametrize(
    ("component", "runtime", "told"),
    [
        ('{image: "api:{version}", port: 80}', "docker", set()),
        ('{image: "api:{version}"}', "docker", {"config.no-port"}),
        ('{image: "api:{version}"}', "process", {"config.no-command"}),
        ("{command: [serve]}", "docker", {"config.no-image"}),
        ("{command: [serve]}", "process", set()),
        ("{source: lib}", "docker", set()),
        ("{image: api, port: 80}", "docker", {"config.fixed-image"}),
        ('{image: "api:{version}", port: 80}', '{kind: docker, host: "ssh://a@b"}', {"config.docker-address"}),
        ('{image: "api:{version}", port: 80}', '{kind: docker, host: "ssh://a@b", address: 10.0.0.5}', set()),
    ],
)
def test_components_that_cannot_run_are_told(component, runtime, told):
    assert codes(component, runtime) == told
