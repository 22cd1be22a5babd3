"""A process that has the libraries of the stages loaded, and forks into the process of each task.

Loading them takes several seconds, in every one of a run's dozen tasks. KFP's subprocess runner starts a new
interpreter for each and has no hook for another way, so the function that starts it is replaced during a run.

The process loads one library after the other while tasks run, and forks at once when a task comes. A forked task has
its own memory, output and environment as a new process has, since no library computes before the fork.
"""

import atexit
import contextlib
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

EXECUTOR = "kfp.dsl.executor_main"
LIBRARIES = (
    *(EXECUTOR, "pandas", "pyarrow.parquet", "PIL.Image", "torch", "torchvision.transforms.v2", "timm"),
    *("transformers", "diffusers.models.autoencoders.vq_model", "mlflow", "anomalib.data", "scipy.stats"),
    *("sklearn.metrics", "plotly.graph_objects", "jinja2"),
)
"""Loaded in the order in which stages need them; one that is not installed is left out."""

_EXIT_CODE = struct.Struct("i")


@contextlib.contextmanager
def warm_tasks() -> Iterator[None]:
    """Have the tasks of KFP's subprocess runner forked from a warm process, which ends with the block."""
    from kfp.local import subprocess_task_handler as handler

    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            command = [sys.executable, "-m", __name__, str(theirs.fileno())]
            server = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        original = handler.run_local_subprocess

        def run(full_command: list[str], env_vars: Mapping[str, str] | None = None) -> int:
            if EXECUTOR not in full_command[2]:
                return int(original(full_command, env_vars))
            return _run_task(ours, full_command, {**os.environ, **(env_vars or {})})

        handler.run_local_subprocess = run
        try:
            yield
        finally:
            handler.run_local_subprocess = original
            server.kill()
            server.wait()


def _run_task(server: socket.socket, command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Print the output of a component's command, `sh -ec SCRIPT CODE ARGUMENTS`, as it comes; its exit code."""
    output, task_output = os.pipe()
    status, task_status = os.pipe()
    task = {
        "code": command[3],
        "arguments": command[4:],
        "environment": dict(environment),
        "folder": str(Path.cwd()),
    }
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        json.dump(task, file)
        file.flush()
        socket.send_fds(server, [b"."], [file.fileno(), task_output, task_status])
    os.close(task_output)
    os.close(task_status)
    with os.fdopen(output, encoding="utf-8", errors="replace") as lines, os.fdopen(status, "rb") as result:
        for line in lines:
            print(line, end="")
        print("\n")
        found = result.read()
    return int(_EXIT_CODE.unpack(found)[0]) if found else -signal.SIGKILL


class _Server:
    """Forks tasks, and writes the exit code of each to the pipe that came with it."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._statuses: dict[int, int] = {}
        signal.signal(signal.SIGCHLD, self._reap)
        # A terminal interrupts the whole group; the run ends this process.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def serve(self) -> None:
        """Fork for every request, and load a further library while there is none; return in the forked process."""
        libraries, started = list(LIBRARIES), False
        while True:
            idle = started and bool(libraries)
            ready, _, _ = select.select([self._requests], [], [], 0 if idle else None)
            if not ready:
                with contextlib.suppress(ImportError):
                    importlib.import_module(libraries.pop(0))
                continue
            message, files, _, _ = socket.recv_fds(self._requests, 1, 3)
            if not message:
                sys.exit()
            started = True
            if self._fork(files[-1]):
                _become_task(*files)
                return
            for file in files[:-1]:
                os.close(file)

    def _fork(self, status: int) -> bool:
        """Whether this is the new process; the other one keeps the pipe that gets its exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        process = os.fork()
        if process:
            self._statuses[process] = status
        else:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._requests.close()
            for other in self._statuses.values():
                os.close(other)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        return process == 0

    def _reap(self, number: int, frame: FrameType | None) -> None:
        for process in list(self._statuses):
            ended, code = os.waitpid(process, os.WNOHANG)
            if ended:
                status = self._statuses.pop(process)
                with contextlib.suppress(BrokenPipeError):
                    os.write(status, _EXIT_CODE.pack(os.waitstatus_to_exitcode(code)))
                os.close(status)


def _become_task(request: int, output: int, status: int) -> None:
    """Take over the folder, environment, arguments and output of a task."""
    os.close(status)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    os.close(output)
    with os.fdopen(request, encoding="utf-8") as file:
        file.seek(0)
        task = json.load(file)
    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["environment"] | {"_KFP_RUNTIME": "true"})
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    module = Path(folder) / "ephemeral_component.py"
    module.write_text(task["code"], encoding="utf-8")
    sys.argv = [EXECUTOR, "--component_module_path", str(module), *task["arguments"]]
    name = task["arguments"][task["arguments"].index("--function_to_execute") + 1]
    with contextlib.suppress(OSError):  # not Linux: the task has no name of its own in lists of processes
        Path("/proc/self/comm").write_text(f"vigil {name}", encoding="utf-8")


if __name__ == "__main__":
    _Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    runpy.run_module(EXECUTOR, run_name="__main__", alter_sys=True)
