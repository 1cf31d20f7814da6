"""Writes files that start a Ray cluster, from the templates in clusters/templates/ and the user's values."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

_FOLDER = Path(__file__).resolve().parent / "templates"


class TemplateError(Exception):
    """The kind of cluster or a value is unknown, or a value is missing; the message lists what there is."""

    exit_code = 2


@dataclass(frozen=True)
class Value:
    """A value of a template; it must be given if its default is None."""

    default: str | None
    help: str


_NAME = Value("promptfront", "name of the cluster")
_INSTALL = Value(None, "what pip installs on each node: a wheel's URL, or git+https://...")
_CLOUD = {
    "region": Value(None, "where the machines are"),
    "head": Value(None, "machine type of the head, which runs the driver and no trials"),
    "worker": Value(None, "machine type of the workers"),
    "image": Value(None, "image of all machines: Debian or Ubuntu with Python 3.11 or later"),
    "workers": Value("2", "number of workers"),
    "share": Value(None, "the shared file system, as `mount -t nfs4` names it: HOST:/PATH"),
    "output_dir": Value("/mnt/outputs", "folder where it is mounted on each node"),
    "install": _INSTALL,
    "ssh_user": Value("ubuntu", "user name in the image"),
    "cluster_name": _NAME,
}

KINDS: dict[str, tuple[str, str, dict[str, Value]]] = {
    "local": (
        "local.sh.j2",
        "several Ray nodes on this machine",
        {
            "nodes": Value("2", "number of Ray nodes"),
            "cpus": Value("1", "CPUs that each node offers"),
            "port": Value("6400", "port of the head; node N uses port + 100 N to port + 100 N + 99"),
            "dashboard_port": Value("8265", "port of the dashboard and of Ray Jobs"),
            "folder": Value(
                "~/.promptfront", "folder for token, logs and process ids; at most 40 characters"
            ),
        },
    ),
    "slurm": (
        "slurm.sh.j2",
        "a Slurm job whose nodes form a Ray cluster, for one study",
        {
            "nodes": Value("2", "number of Slurm nodes"),
            "cpus": Value("8", "CPUs of each node"),
            "gpus": Value("0", "GPUs of each node"),
            "time": Value("24:00:00", "time limit; the study is stopped cleanly before it"),
            "partition": Value("", "Slurm partition; empty for the default one"),
            "setup": Value("", "shell command to run first, such as: source /shared/venv/bin/activate"),
            "job_name": Value("promptfront", "name of the job"),
        },
    ),
    "onpremise": (
        "onpremise.yaml.j2",
        "`ray up` on your own machines, over ssh",
        {
            "head": Value(None, "address of the head"),
            "workers": Value(None, "addresses of the workers, separated by commas"),
            "output_dir": Value(None, "folder that all machines share"),
            "install": _INSTALL,
            "ssh_user": Value(None, "user on each machine"),
            "ssh_private_key": Value("~/.ssh/id_ed25519", "file of the user's private key on this machine"),
            "cluster_name": _NAME,
        },
    ),
    "aws": ("aws.yaml.j2", "`ray up` on Amazon EC2", _CLOUD),
    "gcp": (
        "gcp.yaml.j2",
        "`ray up` on Google Compute Engine",
        {
            "project": Value(None, "id of the project"),
            "zone": Value(None, "zone in the region, such as europe-west4-a"),
            **_CLOUD,
        },
    ),
    "kuberay": (
        "kuberay.yaml.j2",
        "a RayJob on Kubernetes, for one study",
        {
            "image": Value(None, "container image with promptfront installed"),
            "claim": Value(None, "PersistentVolumeClaim (ReadWriteMany) for results and data"),
            "output_dir": Value("/mnt/outputs", "folder where it is mounted in each pod"),
            "workers": Value("2", "number of pods that run trials"),
            "cpus": Value("8", "CPUs of a worker"),
            "gpus": Value("0", "GPUs of a worker"),
            "memory": Value("32Gi", "memory of a worker"),
            "ray_version": Value("2.60.0", "Ray version in the image"),
            "cluster_name": _NAME,
        },
    ),
}
"""For each kind: its template file, what it is for, and its values."""


def render(kind: str, values: Mapping[str, str], name: str = "") -> str:
    """Renders the file of a kind of cluster.

    Args:
        kind: one of KINDS.
        values: values by name; others keep their defaults.
        name: the file's name, which its comments mention.

    Raises:
        TemplateError: the kind or a value is unknown, or a value is missing.
    """
    _known(kind)
    file, _, known = KINDS[kind]
    unknown = [value for value in values if value not in known]
    if unknown:
        raise TemplateError(
            f"{kind} has no value {unknown[0]!r}{_close(unknown[0], known)}; it has:\n{describe(kind)}"
        )
    given = {value: spec.default for value, spec in known.items()} | dict(values)
    missing = [value for value, text in given.items() if text is None]
    if missing:
        raise TemplateError(
            f"{kind} needs {', '.join(f'--set {value}=...' for value in missing)}; its values are:\n{describe(kind)}"
        )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["quote"] = lambda value: shlex.quote(str(value))
    environment.filters["json"] = json.dumps
    return environment.get_template(file).render(**given, name=name or file.removesuffix(".j2"))


def title(kind: str) -> str:
    """A kind and what it is for, in one line."""
    _known(kind)
    return f"{kind}: {KINDS[kind][1]}"


def describe(kind: str) -> str:
    """The values of a kind, one line each."""
    return "\n".join(
        f"  {name}: {value.help}" + ("" if value.default is None else f" (default {value.default})")
        for name, value in KINDS[kind][2].items()
    )


def _known(kind: str) -> None:
    if kind not in KINDS:
        raise TemplateError(f"the kind must be one of {', '.join(KINDS)}, not {kind!r}{_close(kind, KINDS)}")


def _close(name: str, allowed: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, allowed, n=1)
    return f"; did you mean {close[0]}?" if close else ""
