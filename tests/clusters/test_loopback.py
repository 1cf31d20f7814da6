"""The Ray of a study on one machine can be reached from this machine only."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, os, psutil, ray
from clusters.connect import connected
with connected(None):
    ray.get(ray.remote(lambda: 1).remote())  # a worker is there too
    mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
    open_ = [c.laddr.ip for p in mine for c in p.net_connections() if c.status in ("LISTEN", "NONE")]
print(json.dumps(open_))
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_every_port_is_on_loopback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, check=True
    )
    there = [ipaddress.ip_address(ip.removeprefix("::ffff:")) for ip in json.loads(done.stdout)]
    assert len(there) >= 5
    assert all(ip.is_loopback for ip in there), there
