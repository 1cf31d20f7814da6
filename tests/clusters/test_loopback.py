"""The Ray of a study on one machine can be reached from this machine only."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, psutil, ray
from clusters.connect import connected
with connected(None):
    ray.get(ray.remote(lambda: 1).remote())  # a worker is there too
    mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
    open_ = []
    for p in mine:
        try:
            open_ += [c.laddr.ip for c in p.net_connections() if c.status in ("LISTEN", "NONE")]
        except psutil.NoSuchProcess:  # it has ended since, as what Ray starts to look about does
            pass
print(json.dumps(open_))
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_every_port_is_on_loopback() -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    there = [ipaddress.ip_address(ip.removeprefix("::ffff:")) for ip in json.loads(done.stdout)]
    assert len(there) >= 5
    assert all(ip.is_loopback for ip in there), there
