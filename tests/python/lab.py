"""What the foreign clients' tests share: a lab of `topologies/two-hosts.yaml` and its traffic.

`WEFT` names the binary. Each test program has an environment of its own: the clients want different protobufs.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WEFT = os.environ.get("WEFT", str(ROOT / "target/release/weft"))

# Sends datagrams to bob's responder and prints how many were answered within a second each.
PROBE = """
import socket, sys
answered = 0
for _ in range(int(sys.argv[1])):
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.settimeout(float(sys.argv[2]))
    probe.sendto(b"hello", ("10.0.0.2", 7001))
    try:
        answered += probe.recv(100) == b"hi"
    except TimeoutError:
        pass
print(answered)
"""

# Ethernet, IPv4, UDP, and the five bytes of `hello`.
DATAGRAM_BYTES = 14 + 20 + 8 + 5


def weft(*args):
    done = subprocess.run([WEFT, *args], cwd=ROOT, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError(f"weft {' '.join(args)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_for(what, condition, deadline=10.0):
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {deadline} s")
        time.sleep(0.02)


class Lab:
    """A running lab of two hosts, alice and bob, on one switch, s1."""

    def __init__(self, client):
        self.name = f"{client}-{os.getpid()}"

    def up(self):
        weft("up", "topologies/two-hosts.yaml", "--detach", "--name", self.name)

    def down(self):
        weft("down", self.name)

    def status(self):
        return json.loads(weft("status", "--lab", self.name, "-o", "json"))

    def get(self, path):
        return json.loads(weft("api", "--lab", self.name, path))

    def conditions(self):
        """The conditions of s1 that hold."""
        found = self.get("/v1/switches/s1")["conditions"]
        return {one["type"] for one in found if one["status"]}

    def answered(self, count, timeout=1.0):
        """How many of `count` datagrams from alice to bob were answered."""
        command = [sys.executable, "-c", PROBE, str(count), str(timeout)]
        return int(weft("exec", "--lab", self.name, "alice", "--", *command))

    def pings(self):
        """Whether bob answers alice's echo request."""
        done = subprocess.run(
            [WEFT, "exec", "--lab", self.name, "alice", "--", "ping", "-c1", "-W1", "10.0.0.2"],
            cwd=ROOT, capture_output=True, text=True, timeout=60,
        )
        return done.returncode == 0
