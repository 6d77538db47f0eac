"""State: one directory per lab, /run/corenat-lab/<id>, with everything needed to take the lab down."""

import json
import os
import pathlib
import shutil

from .process import LabError

ROOT = pathlib.Path("/run/corenat-lab")


class State(dict):
    """state.json as a dictionary. Saved before whatever it describes is made, so that `down` finds the
    remains of an `up` that died half-way."""

    @property
    def dir(self):
        return ROOT / self["id"]

    @classmethod
    def create(cls, prefix="clab"):
        """Claims an id that no other lab has: mkdir is the lock."""
        ROOT.mkdir(parents=True, exist_ok=True)
        base = f"{prefix}{os.getpid()}"
        for name in [base] + [f"{base}{c}" for c in "abcdefghijklmnopqrstuvwxyz"]:
            try:
                (ROOT / name).mkdir()
            except FileExistsError:
                continue
            # nginx's worker, an ordinary user, reads its documents below here.
            (ROOT / name).chmod(0o755)
            return cls(id=name, processes={})
        raise LabError(f"too many labs of process {os.getpid()} below {ROOT}")

    @classmethod
    def load(cls, lab_id=None):
        """The lab with this id, or that of LAB_ID, or the newest."""
        lab_id = lab_id or os.environ.get("LAB_ID")
        if not lab_id:
            found = sorted(ids(), key=lambda i: (ROOT / i).stat().st_ctime)
            if not found:
                raise LabError("no lab is up")
            lab_id = found[-1]
        if lab_id not in ids():
            raise LabError(f"no lab {lab_id} is up")
        try:
            return cls(json.loads((ROOT / lab_id / "state.json").read_text()))
        except (OSError, ValueError):
            return cls(id=lab_id, processes={})  # died before its first save: little to undo

    def save(self):
        new = self.dir / "state.json.new"
        new.write_text(json.dumps(self, indent=1))
        new.replace(self.dir / "state.json")

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        try:
            ROOT.rmdir()
        except OSError:
            pass  # other labs are there


def ids():
    return [p.name for p in ROOT.iterdir() if p.is_dir()] if ROOT.is_dir() else []
