"""Appliance: CoreNAT's processes in the namespace cgn, its REST API, and its removal."""

import ctypes
import http.client
import json
import pathlib
import struct

from . import config
from .process import LabError, tool

# Of shm/mailbox.h: "CNMB" in front, the arena's name at the place it keeps in every version.
MAILBOX_MAGIC = 0x424d4e43
MAILBOX_NAME_AT = 8
MAILBOX_NAME_SIZE = 32
SHM_RDONLY = 0o10000


def commands(state, document):
    """Role to argv, in the order of starting."""
    binaries = pathlib.Path(state["build"]) / "bin"
    cfg = ["--config", state.dir / "config.json"]
    roles = {"mgmtd": [binaries / "corenat-mgmtd", *cfg],
             "aggregator": [binaries / "corenat-aggregator", *cfg]}
    for n in range(config.engines(document)):
        roles[f"pe{n}"] = [binaries / "corenat-pe", *cfg, "--engine", n]
    for argv in roles.values():
        if not argv[0].exists():
            raise LabError(f"{argv[0]} is not built: make all")
    return roles


def request(port, path, timeout=5.0):
    """(status, body) of a GET. No proxy of the environment gets in between."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def health(port):
    """The health document, or a reason why there is none."""
    try:
        return json.loads(request(port, "/api/v1/health", timeout=2.0)[1])
    except (OSError, ValueError, http.client.HTTPException) as e:
        return {"status": "unreachable", "reasons": [str(e) or type(e).__name__]}


def remove(state):
    """Arena, mailboxes, XDP program and pins. The product's own command first; then whatever is left."""
    ctl = pathlib.Path(state["build"]) / "bin/corenatctl"
    cfg = state.dir / "config.json"
    if ctl.exists() and cfg.exists():
        try:
            tool([ctl, "--config", cfg, "arena", "remove"], state["namespaces"]["cgn"])
        except LabError:
            pass  # nothing was made yet, or the namespace is gone
    for path in leftovers(state):
        if isinstance(path, int):
            tool(["ipcrm", "-m", path])
        else:
            path.unlink(missing_ok=True)


def leftovers(state):
    """Shared memory of this lab's appliance: paths of /dev/shm and ids of SysV segments."""
    name = state["arena"]
    posix = list(pathlib.Path("/dev/shm").glob(name.lstrip("/") + "*"))
    return [p for p in posix if of_arena(p.name, name.lstrip("/"))] + mailboxes(name)


def of_arena(file, arena):
    """corenat-clab12 owns corenat-clab12 and corenat-clab12.lock, not corenat-clab123."""
    return file == arena or not file[len(arena)].isalnum()


def mailboxes(arena):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    libc.shmdt.argtypes = [ctypes.c_void_p]
    found = []
    for line in pathlib.Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        shmid, size = int(line.split()[1]), int(line.split()[3])
        if size < MAILBOX_NAME_AT + MAILBOX_NAME_SIZE:
            continue
        at = libc.shmat(shmid, None, SHM_RDONLY)
        if at == ctypes.c_void_p(-1).value:
            continue
        head = ctypes.string_at(at, MAILBOX_NAME_AT + MAILBOX_NAME_SIZE)
        libc.shmdt(at)
        owner = head[MAILBOX_NAME_AT:].split(b"\0")[0].decode(errors="replace")
        if struct.unpack_from("=I", head)[0] == MAILBOX_MAGIC and owner == arena:
            found.append(shmid)
    return found
