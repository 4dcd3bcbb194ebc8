"""Programs that die, hang, refuse to stop, multiply and shout; supervisors that are killed."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from process_world import APP, processes_of, release

from crossfade.config.model import Component
from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.runtimes.port import Release
from crossfade.runtimes.shim.folder import Folder, holder, write_whole
from crossfade.testing.runtime_contract import DEADLINE, all_ready, eventually


async def get(instance, path="/"):
    async with httpx.AsyncClient() as client:
        return await client.get(f"http://{instance.address}{path}")


async def test_environment_directory_and_placeholders(runtime, place):
    (place / "v1.0.0").mkdir()
    w = release().workload.model_copy(update={"directory": "v{version}"})
    await runtime.start("blue", Release("1.0.0", w), 1)
    (instance,) = await eventually(runtime, all_ready(1))
    port = instance.address.rpartition(":")[2]
    version, hello, said_version, said_port, pid, directory = (await get(instance)).text.split(" ")
    assert (version, hello, said_version, said_port) == ("1.0.0", "bonjour", "1.0.0", port)
    assert int(pid) == instance.pid
    assert directory == str(place / "v1.0.0")
    environment = psutil.Process(instance.pid).environ()
    assert environment["PORT"] == port
    assert environment["CROSSFADE_INSTANCE"] == str(place / "instances/production/api/blue/0")


def written(folder):
    return "".join(each.read_text() for each in Path(folder).glob("*.json"))


async def test_crossfades_own_secrets_are_not_inherited(make):
    runtime = make(
        environ={
            "PATH": os.environ["PATH"],
            "DATABASE_URL": "postgresql://secret",
            "CROSSFADE_TOKEN": "secret",
            "LANG": "C",
        },
        variables={"REGION": "eu"},
    )
    await runtime.start("blue", release(), 1)
    (instance,) = await eventually(runtime, all_ready(1))
    environment = psutil.Process(instance.pid).environ()
    assert environment["REGION"] == "eu"
    assert environment["LANG"] == "C"
    assert "hush" not in str(environment)
    assert "hush" not in written(environment["CROSSFADE_INSTANCE"])


async def test_dies_in_the_middle_again_and_again(runtime):
    await runtime.start("blue", release("1.0.0", "--die-after", "0.3"), 1)
    seen = await eventually(runtime, lambda seen: seen[0].restarts >= 2 and seen[0].state == "backing-off")
    assert "exited with code 5" in seen[0].detail
    assert "a warning" in seen[0].detail


async def test_dies_while_it_answers(runtime):
    await runtime.start("blue", release(), 1)
    (before,) = await eventually(runtime, all_ready(1))
    with contextlib.suppress(httpx.HTTPError):
        await get(before, "/die")
    (after,) = await eventually(runtime, lambda seen: seen[0].restarts == 1 and seen[0].state == "ready")
    assert after.address == before.address
    assert after.pid != before.pid


async def test_a_hung_server_is_unready_then_started_again(runtime, switch):
    await runtime.start("blue", release("1.0.0", "--file-switch", str(switch), timeout=0.2, grace=0.2), 1)
    (before,) = await eventually(runtime, all_ready(1))
    (switch / "hang").touch()
    (sick,) = await eventually(runtime, lambda seen: seen[0].restarts == 1)
    assert sick.state in ("backing-off", "starting")
    assert "no answer within 0.2 s" in sick.detail or sick.state == "starting"
    (switch / "hang").unlink()
    (after,) = await eventually(runtime, all_ready(1))
    assert after.address == before.address
    log = [each.text async for each in runtime.logs()]
    assert any("failed its health check 3 times in a row" in text for text in log), log


async def test_sick_is_told_with_the_answers_body(runtime, switch):
    (switch / "sick").write_text("the disk of the cache is full")
    await runtime.start("blue", release("1.0.0", "--file-switch", str(switch)), 1)
    (sick,) = await eventually(runtime, lambda seen: seen[0].failures >= 3)
    assert sick.state == "starting"
    assert "answered 503 Service Unavailable: the disk of the cache is full" in sick.detail


async def test_readiness_of_its_own_is_lost_and_won_without_a_restart(runtime, switch):
    await runtime.start("blue", release("1.0.0", "--file-switch", str(switch), ready="/ready"), 1)
    (before,) = await eventually(runtime, all_ready(1))
    (switch / "unready").touch()
    (sick,) = await eventually(runtime, lambda seen: seen[0].state == "unready")
    assert "GET /ready answered 503" in sick.detail
    assert sick.failures == 0
    (switch / "unready").unlink()
    (after,) = await eventually(runtime, all_ready(1))
    assert (after.pid, after.restarts) == (before.pid, 0)


@pytest.mark.parametrize("flags", [("--ignore-term",), ("--ignore-term", "--grandchildren", "2")])
async def test_a_program_that_ignores_term_is_killed_after_the_grace_time(runtime, place, flags):
    await runtime.start("blue", release("1.0.0", *flags, grace=0.3), 2)
    await eventually(runtime, all_ready(2))
    stopping = asyncio.create_task(runtime.stop("blue"))
    seen = await eventually(runtime, lambda seen: any(each.state == "stopping" for each in seen))
    assert len(seen) == 2
    await stopping
    assert processes_of(place) == ([], [])
    assert any("killed" in each.text for each in [line async for line in runtime.logs()])


@pytest.mark.parametrize("end", ["stop", "crash"])
async def test_no_descendant_is_left(runtime, place, end):
    flags = ("--ignore-term", "--grandchildren", "2", "--detach")
    await runtime.start("blue", release("1.0.0", *flags, grace=0.2), 1)
    (before,) = await eventually(runtime, all_ready(1))
    assert len(processes_of(place)[1]) == 4
    if end == "stop":
        await runtime.stop("blue")
        assert processes_of(place) == ([], [])
    else:
        os.kill(before.pid, signal.SIGKILL)
        await eventually(runtime, lambda seen: seen[0].restarts == 1 and seen[0].state == "ready")
        assert len(processes_of(place)[1]) == 4


async def test_a_killed_supervisor_leaves_nothing_and_its_instance_comes_back(runtime, place):
    flags = ("--ignore-term", "--grandchildren", "2", "--detach")
    await runtime.start("blue", release("1.0.0", *flags, grace=0.2), 2)
    before = await eventually(runtime, all_ready(2))
    shim = holder(Folder(str(place / "instances/production/api/blue/0")))
    os.kill(shim[0], signal.SIGKILL)
    lost = await eventually(runtime, lambda seen: seen[0].state == "gone")
    assert lost[0].address == before[0].address
    assert "without being told to" in lost[0].detail
    assert lost[1] == before[1]
    await runtime.start("blue", release("1.0.0", *flags, grace=0.2), 2)
    after = await eventually(runtime, all_ready(2))
    assert [each.restarts for each in after] == [1, 0]
    assert [each.address for each in after] == [each.address for each in before]
    assert after[1].pid == before[1].pid
    shims, marked = processes_of(place)
    assert (len(shims), len(marked)) == (2, 8)


async def test_a_killed_supervisor_is_swept_by_stop(runtime, place):
    await runtime.start("blue", release("1.0.0", "--ignore-term", "--grandchildren", "1", "--detach", grace=0.2), 1)
    await eventually(runtime, all_ready(1))
    for shim in processes_of(place)[0]:
        shim.kill()
    await runtime.stop("blue")
    assert processes_of(place) == ([], [])


async def test_a_hung_supervisor_is_ended_by_force(runtime, place, monkeypatch):
    monkeypatch.setattr("crossfade.runtimes.process._MARGIN", 0.2)
    await runtime.start("blue", release(grace=0.2), 1)
    await eventually(runtime, all_ready(1))
    for shim in processes_of(place)[0]:
        shim.suspend()
    monkeypatch.setattr("crossfade.runtimes.process._SILENT", -1.0)
    (silent,) = await runtime.observe()
    assert silent.state == "unready"
    assert "silent" in silent.detail
    await runtime.stop("blue")
    assert processes_of(place) == ([], [])


async def test_a_port_that_was_taken_meanwhile_is_changed_and_told(runtime, place):
    await runtime.start("blue", release(), 1)
    (before,) = await eventually(runtime, all_ready(1))
    for shim in processes_of(place)[0]:
        shim.kill()
    await eventually(runtime, lambda seen: seen[0].state == "gone")
    psutil.wait_procs(processes_of(place)[1], timeout=DEADLINE)
    port = int(before.address.rpartition(":")[2])
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind(("127.0.0.1", port))
        taker.listen()
        await runtime.start("blue", release(), 1)
        (after,) = await eventually(runtime, all_ready(1))
        assert after.address != before.address
        assert (await get(after)).status_code == 200
    log = [each.text async for each in runtime.logs()]
    assert any(f"port {port} was taken by another program" in text for text in log)


async def test_a_version_that_cannot_be_executed_backs_off_with_the_reason(runtime, place):
    broken = place / "broken"
    broken.write_text("#!/nonexistent/interpreter\n")
    broken.chmod(0o755)
    await runtime.start("blue", Release("1.0.0", Component(command=("./broken",))), 1)
    (seen,) = await eventually(runtime, lambda seen: seen[0].state == "backing-off")
    assert "could not be started: No such file or directory: ./broken" in seen.detail


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"command": ("no-such-program",)}, "runtime.command-missing", "no-such-program"),
        ({"command": ("./absent",)}, "runtime.command-missing", "absent does not exist"),
        ({"command": ("./folder",)}, "runtime.command-missing", "is not a file"),
        ({"command": ("./plain",)}, "runtime.command-not-executable", "is not executable"),
        ({"command": ("sleep",), "directory": "absent"}, "runtime.directory-missing", "does not exist"),
        ({"command": ("sleep",), "directory": "plain"}, "runtime.directory-missing", "is not a directory"),
    ],
)
async def test_what_cannot_run_is_refused_before_anything_starts(runtime, place, settings, code, words):
    (place / "plain").touch(mode=0o644)
    (place / "folder").mkdir()
    with pytest.raises(BadInputError) as refused:
        await runtime.start("blue", Release("1.0.0", Component(**settings)), 1)
    assert refused.value.code == code
    assert words in refused.value.what
    assert refused.value.where
    assert refused.value.next
    assert await runtime.observe() == ()


@pytest.mark.parametrize(
    ("value", "code", "words"),
    [
        ("{prot}", "runtime.placeholder", "REGION: {prot}"),
        ("a\0b", "runtime.nul", "NUL"),
        ("{", "runtime.placeholder", "{{"),
    ],
)
async def test_variables_of_the_environment_that_cannot_be_filled(make, value, code, words):
    with pytest.raises(BadInputError) as refused:
        await make(variables={"REGION": value}).start("blue", release(), 1)
    assert refused.value.code == code
    assert words in refused.value.what


async def test_a_negative_count_is_refused(runtime):
    with pytest.raises(BadInputError):
        await runtime.start("blue", release(), -1)


async def test_state_that_cannot_be_written_is_a_clear_error(make, place):
    (place / "instances").write_text("a file where a folder should be")
    with pytest.raises(CrossfadeError) as refused:
        await make().start("blue", release(), 1)
    assert refused.value.code == "runtime.state-inaccessible"
    assert "directory" in refused.value.what
    (place / "instances").unlink()


async def test_damaged_state_is_not_believed(runtime, place):
    await runtime.start("blue", release(), 1)
    (before,) = await eventually(runtime, all_ready(1))
    folder = Folder(str(place / "instances/production/api/blue/0"))
    write_whole(folder.state, b'{"half": ', durable=False)
    (unknown,) = await runtime.observe()
    assert unknown.state == "starting"
    for shim in processes_of(place)[0]:
        shim.kill()
    await eventually(runtime, lambda seen: seen[0].state == "gone")
    await runtime.start("blue", release(), 1)
    (after,) = await eventually(runtime, all_ready(1))
    assert after.pid != before.pid


async def test_the_supervisor_is_light(runtime, place):
    """What every instance costs beside itself: no heavy module has crept in."""
    await runtime.start("blue", release(), 1)
    await eventually(runtime, all_ready(1))
    (shim,) = processes_of(place)[0]
    assert shim.memory_info().rss < 20_000_000
    assert shim.num_threads() == 1
    code = (
        f"import sys; sys.path.append({str(Path(APP).parents[3] / 'src')!r})\n"
        "import crossfade.runtimes.shim.supervisor\n"
        "print(*sorted(sys.modules))"
    )
    run = await asyncio.create_subprocess_exec(sys.executable, "-I", "-S", "-c", code, stdout=asyncio.subprocess.PIPE)
    modules = set((await run.communicate())[0].decode().split())
    assert not modules & {"asyncio", "dataclasses", "typing", "pathlib", "subprocess", "logging", "pydantic", "psutil"}
