"""An engine is taken out of the configuration while its subscribers' transfers run, and comes back later."""

import json
import os
import signal
import time

from corenat_lab import rss
from harness import LabCase, wait_for


class RemovedEngine(LabCase):
    OPTIONS = {"subs": 3}

    def steer(self, table):
        """What the operator does on the NIC: its queues in use."""
        key = bytes.fromhex(self.document["inside"]["rss"]["key"])
        for side in ("inside", "outside"):
            rss.configure(self.lab.state.dir / "bpf" / f"rss-{side}", key, table)

    def put_in_force(self, document):
        generation = self.health()["config_generation"]
        (self.lab.state.dir / "config.json").write_text(json.dumps(document))
        self.lab.kill("mgmtd", signal.SIGTERM)
        self.lab.start("mgmtd")
        wait_for("the new configuration is in force", lambda: self.health()["config_generation"] > generation)

    def stand_still(self, role):
        os.kill(self.lab.state["processes"][role]["pid"], signal.SIGSTOP)
        self.addCleanup(self.go_on, role)

    def go_on(self, role):
        os.kill(self.lab.state["processes"][role]["pid"], signal.SIGCONT)

    def with_one_engine(self):
        one = json.loads(json.dumps(self.document))
        one["arena"]["engines"] = 1
        one["engine"]["cpus"] = [0]
        for side in ("inside", "outside"):
            one[side]["rss"]["table"] = [0]
        return one

    def transfers_on_both(self):
        """Six and more: where a flow lands is the hash's choice."""
        transfers = [self.download(f"sub{1 + i % 3}", "3M") for i in range(6)]
        wait_for("all have begun", lambda: sum(e["sessions"] for e in self.engines()) >= 6)
        while self.engines()[1]["sessions"] == 0:
            self.assertLess(len(transfers), 20, "of so many flows one lands on engine 1")
            transfers.append(self.download("sub1", "3M"))
            time.sleep(0.2)
        return transfers

    def test_the_other_engine_adopts_its_sessions(self):
        self.document = json.loads((self.lab.state.dir / "config.json").read_text())
        transfers = self.transfers_on_both()
        self.steer([0])
        self.lab.kill("pe1", signal.SIGKILL)
        self.put_in_force(self.with_one_engine())
        wait_for("engine 0 adopts", lambda: "adopted engine 1" in self.log("pe0"))
        for transfer in transfers:
            self.assert_downloaded(transfer)

        self.stand_still("pe0")  # it gives back what is engine 1's when it goes on
        self.put_in_force(self.document)
        self.lab.start("pe1")
        time.sleep(1)
        self.go_on("pe0")
        wait_for("engine 1 is back", lambda: self.engines()[1]["state"] == "up")
        self.steer(self.document["inside"]["rss"]["table"])
        wait_for("engine 0 says so", lambda: "engine 1 is no longer its guest" in self.log("pe0"))
        self.assert_downloaded(self.download("sub1", "8M"))
