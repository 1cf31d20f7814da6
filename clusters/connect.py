"""A connection to Ray: this machine for the time of a study, or a cluster that runs already."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import ray

_IMPORTABLE = str(Path(__file__).resolve().parent.parent)


class ClusterError(Exception):
    """The cluster cannot be reached, or is not what was asked for; the message says what to do."""

    exit_code = 5


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[dict[str, float]]:
    """Connects to Ray, and leaves it as it was.

    Args:
        address: None starts Ray on this machine, without a dashboard, and ends it; `auto` or host:port joins a
            running cluster. RAY_ADDRESS stands in for None.

    Yields:
        The cluster's resources: "CPU", "GPU", ...

    Raises:
        ClusterError: it cannot be reached.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address is not None and address.startswith("ray://"):
        raise ClusterError(
            "cluster.address ray:// would run the driver in the cluster, where its results would stay; "
            "run promptfront on a node of the cluster, with cluster.address auto"
        )
    # Workers find the packages where the driver has them, whatever their own working directory.
    path = os.pathsep.join(filter(None, [_IMPORTABLE, os.environ.get("PYTHONPATH")]))
    environment = {"env_vars": {"PYTHONPATH": path}} if address is None else None
    try:
        ray.init(
            address=address or "local",
            runtime_env=environment,
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"cannot reach a Ray cluster at {address or 'this machine'}: {error}") from error
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()
