"""What a hypervisor takes of the CPUs while something is measured."""


class Stolen:
    """The share of the CPUs' time, or of one CPU's, that the hypervisor gave to others, since this was made."""

    def __init__(self, cpu=None):
        self.line = "cpu" if cpu is None else f"cpu{cpu}"
        self.begin = self.read()

    def read(self):
        with open("/proc/stat", encoding="ascii") as f:
            return next(([int(n) for n in line.split()[1:9]] for line in f if line.split()[0] == self.line), [0] * 8)

    def percent(self):
        spent = [b - a for a, b in zip(self.begin, self.read())]
        return 100 * spent[7] / (sum(spent) or 1)
