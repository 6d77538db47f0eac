"""How much of its CPUs the hypervisor kept from this machine: a test that timed out then says nothing of the product."""

import pathlib

TOO_MUCH = 0.15  # share of the CPU time that was wanted


class Stolen:
    """The share from its making until share() is asked."""

    def __init__(self):
        self.begin = self._read()

    @staticmethod
    def _read():
        n = [int(v) for v in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return n[7], sum(n) - n[3] - n[4]  # stolen; all but idle and waiting

    def share(self):
        stolen, wanted = (now - then for now, then in zip(self._read(), self.begin))
        return stolen / wanted if wanted else 0.0
