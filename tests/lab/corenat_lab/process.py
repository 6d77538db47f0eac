"""Processes: run a tool, run it in a namespace, start and end daemons that outlive us."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time

NETNS_DIR = pathlib.Path("/run/netns")
TOOL_LIMIT_S = 60
LISTEN_FD = 3  # where systemd's socket activation puts the first socket

# What must not leak from our caller's service manager or proxy settings into the lab.
FOREIGN = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "JOURNAL_STREAM",
           "http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class LabError(Exception):
    """Something the lab needed did not work; the text says what, in one sentence or a log's tail."""


def environment():
    return {k: v for k, v in os.environ.items() if k not in FOREIGN}


def inside(netns, argv):
    """The command that runs `argv` in a namespace. Only the network changes: /sys and the bpf file
    systems stay (`ip netns exec` would hide them), and the process id is that of the program."""
    return ["nsenter", f"--net={NETNS_DIR / netns}", "--", *map(str, argv)]


def tool(argv, netns=None, text_in=None):
    """Runs a tool that must succeed; returns its standard output."""
    argv = [str(a) for a in argv]
    try:
        done = subprocess.run(inside(netns, argv) if netns else argv, input=text_in, text=True,
                              capture_output=True, env=environment(), timeout=TOOL_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as e:
        raise LabError(f"`{' '.join(argv)[:200]}` did not end in {TOOL_LIMIT_S} s") from e
    if done.returncode:
        where = f" in {netns}" if netns else ""
        raise LabError(f"`{' '.join(argv)[:200]}`{where} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def spawn(argv, netns, log, listener=None, extra_env=None):
    """Starts a daemon in a namespace, in a session of its own, output appended to `log`; returns its pid.
    `listener` is a socket passed by systemd's protocol; LISTEN_PID must name the final process, so a
    shell that becomes the program sets it."""
    env = {**environment(), **(extra_env or {})}
    argv = [str(a) for a in argv]
    actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
               (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
               (os.POSIX_SPAWN_DUP2, 1, 2)]
    if listener is not None:
        env["LISTEN_FDS"] = "1"
        argv = ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *argv]
        actions.append((os.POSIX_SPAWN_DUP2, listener.fileno(), LISTEN_FD))
    return os.posix_spawnp("nsenter", inside(netns, argv), env, file_actions=actions, setsid=True,
                           setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGPIPE])


@contextlib.contextmanager
def undisturbed():
    """Signals that ask us to end wait: a half-done removal would leave things behind."""
    asks = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, asks)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_netns(pid, netns):
    """Whether a process that spawn() started has arrived in its namespace."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat(NETNS_DIR / netns).st_ino
    except OSError:
        return False


def started_at(pid):
    """Start time in clock ticks, which with the pid names a process for ever; None when it is gone. A process whose first
    thread has ended while others have not looks like a zombie, and still has its sockets."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return None
    return None if fields[0] in "ZX" and len(threads) < 2 else int(fields[19])


def reap(pid):
    """Collects a child that ended; whoever is not our child is somebody else's to collect."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def alive(pid, started):
    reap(pid)
    return started is not None and started_at(pid) == started


def end(processes, sig=signal.SIGTERM, grace_s=20.0):
    """Signals every (pid, started) that still lives and waits for all; SIGKILL after the grace."""
    for attempt in (sig, signal.SIGKILL):
        living = [p for p in processes if alive(*p)]
        for pid, _ in living:
            try:
                os.kill(pid, attempt)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + grace_s
        while living and time.monotonic() < deadline:
            time.sleep(0.02)
            living = [p for p in living if alive(*p)]
        if not living:
            return
    raise LabError(f"processes {[pid for pid, _ in living]} do not end, not even by SIGKILL")


def tail(path, lines=15):
    try:
        text = pathlib.Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(text[-lines:]) or "(empty log)"
