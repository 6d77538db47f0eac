"""2 MiB pages for shared memory while it is measured, as the installed appliance has them (corenat-memory.service). Everything is
put back at the end. The settings are the machine's: who has made them keeps other benches waiting."""

import contextlib
import fcntl
import pathlib
import re
import subprocess
import sys

ANONYMOUS = pathlib.Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")  # the engine-only programs' arenas
FILES = "/dev/shm"  # the lab's
LOCK = pathlib.Path("/run/corenat-bench-pages.lock")


def chosen(path=ANONYMOUS):
    """What a file of alternatives has in brackets; None without it."""
    try:
        found = re.search(r"\[(\w+)\]", path.read_text(encoding="ascii"))
        return found and found[1]
    except OSError:
        return None


def mounted():
    """How FILES is mounted."""
    for line in pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, where, kind, options, *_ = line.split()
        if where == FILES and kind == "tmpfs":
            return next((o.partition("=")[2] for o in options.split(",") if o.startswith("huge=")), "never")
    return None


def remount(huge):
    subprocess.run(["mount", "-o", f"remount,huge={huge}", FILES], check=True, capture_output=True)


class Lock:
    """One process's, for as long as it has any Pages; nobody's where we may not write (and so not choose either)."""

    file, depth = None, 0

    @classmethod
    def take(cls):
        cls.depth += 1
        if cls.depth > 1:
            return
        with contextlib.suppress(OSError):
            cls.file = LOCK.open("w", encoding="ascii")
        if not cls.file:
            return
        try:
            fcntl.flock(cls.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"bench: another bench has chosen the machine's pages: waiting for its end ({LOCK})", file=sys.stderr, flush=True)
            fcntl.flock(cls.file, fcntl.LOCK_EX)

    @classmethod
    def give(cls):
        cls.depth -= 1
        if not cls.depth and cls.file:
            cls.file.close()
            cls.file = None


class Pages:
    """`huge`: which there are to be. What the machine does not let us choose stays as it is: rows say what they had."""

    def __init__(self, huge=True):
        self.choice = "advise" if huge else "never"
        self.was = self.was_mounted = None

    def __enter__(self):
        Lock.take()
        try:
            self.was, self.was_mounted = chosen(), mounted()
            if self.was:
                ANONYMOUS.write_text(self.choice, encoding="ascii")
            if self.was_mounted:
                remount(self.choice)
        except (OSError, subprocess.SubprocessError):
            pass  # not root, or a kernel without
        return self

    def __exit__(self, *exc):
        try:
            if self.was:
                ANONYMOUS.write_text(self.was, encoding="ascii")
            if self.was_mounted:
                remount(self.was_mounted)
        except (OSError, subprocess.SubprocessError):
            pass
        finally:
            Lock.give()
