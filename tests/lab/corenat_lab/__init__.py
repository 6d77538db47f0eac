"""The CoreNAT lab: subscribers, the appliance and an Internet in network namespaces.

    sub1 … subK ── veth ── bridge in `access` ── veth ── [cgn-in  cgn  cgn-out] ── veth ── inet

`Lab` is the whole interface; tests/lab/lab is a thin command over it, and tests/lab/run, the system tests
and the benchmarks use it directly.

    with Lab(Options(engines=2)) as lab:
        lab.exec("sub1", ["curl", "-sf", "http://203.0.113.10/"], check=True)
        assert lab.api("/api/v1/health")["status"] == "ok"
"""

from .lab import Lab, Options
from .process import LabError

__all__ = ["Lab", "LabError", "Options"]
