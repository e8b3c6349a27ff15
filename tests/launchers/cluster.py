"""A SLURM of two nodes on this machine: munge, a controller and two daemons, with all they write in one folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo")
_UP = 30.0  # seconds for the nodes to be idle
_CONFIG = """\
ClusterName=lidr
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=4 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=4 RealMemory=4000
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """What a SLURM of one's own needs and is not here; empty where all is."""
    if os.geteuid() != 0:
        return "root, as which SLURM's daemons run"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{', '.join(absent)} (Debian: apt-get install slurm-wlm munge)" if absent else ""


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Two nodes that are up.

    Yields:
        The variables with which SLURM's commands find them.
    """
    munge = folder / "munge"
    for each in (munge, folder / "state"):
        each.mkdir()
    (munge / "key").write_bytes(os.urandom(128))
    (munge / "key").chmod(0o400)
    controller, first, second = _free_ports(3)
    config = folder / "slurm.conf"
    host = socket.gethostname()
    config.write_text(
        _CONFIG.format(folder=folder, host=host, controller=controller, first=first, second=second)
    )
    variables = {
        **os.environ,
        "SLURM_CONF": str(config),
        "MASTER_ADDR": "127.0.0.1",
    }  # nobody knows n1 by name
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    key = [f"--{option}={munge / name}" for option, name in files.items()]
    with ExitStack() as daemons:
        _daemon(daemons, ["munged", "--foreground", "--force", *key], variables, munge / "said")
        _until((munge / "socket").exists, "munged")
        _daemon(daemons, ["slurmctld", "-D"], variables, folder / "slurmctld")
        for node in ("n1", "n2"):
            _daemon(daemons, ["slurmd", "-D", "-N", node], variables, folder / node)
        _until(lambda: _idle(variables) == 2, "the nodes")
        yield variables


def _daemon(daemons: ExitStack, command: list[str], variables: dict[str, str], log: Path) -> None:
    said = daemons.enter_context(log.open("wb"))
    process = subprocess.Popen(command, env=variables, stdout=said, stderr=said)

    def end() -> None:
        process.terminate()
        process.wait()

    daemons.callback(end)


def _idle(variables: dict[str, str]) -> int:
    shown = subprocess.run(
        ["sinfo", "--noheader", "--format=%D", "--states=idle"],
        env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return sum(map(int, shown.stdout.split()))


def _until(true: object, what: str) -> None:
    assert callable(true)
    end = time.monotonic() + _UP
    while not true():
        assert time.monotonic() < end, f"{what} did not come up"
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]
