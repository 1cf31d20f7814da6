"""Files that start a Ray cluster, from the templates in clusters/templates/ and the values that a user gives."""

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
    """There is no such template, or no such value of it; the message lists those that there are."""

    exit_code = 2


@dataclass(frozen=True)
class Value:
    """A value of a template; one whose default is None must be given."""

    default: str | None
    help: str


_NAME = Value("promptfront", "of the cluster")
_INSTALL = Value(None, "what pip installs on each node: a wheel's URL, or git+https://...")
_CLOUD = {
    "region": Value(None, "where the machines are"),
    "head": Value(None, "type of the head's machine; it runs the driver and no trial"),
    "worker": Value(None, "type of the workers' machines"),
    "image": Value(None, "image of both: Debian or Ubuntu with Python 3.11 or later"),
    "workers": Value("2", "how many"),
    "share": Value(None, "the shared file system, as `mount -t nfs4` names it: HOST:/PATH"),
    "output_dir": Value("/mnt/outputs", "where it is mounted on each node"),
    "install": _INSTALL,
    "ssh_user": Value("ubuntu", "user of the image"),
    "cluster_name": _NAME,
}

KINDS: dict[str, tuple[str, str, dict[str, Value]]] = {
    "local": (
        "local.sh.j2",
        "several Ray nodes on this machine",
        {
            "nodes": Value("2", "raylets"),
            "cpus": Value("1", "CPUs that each says it has"),
            "port": Value("6400", "of the head; node N uses port + 100 N up to port + 100 N + 99"),
            "dashboard_port": Value("8265", "of Ray Jobs"),
            "folder": Value("~/.promptfront", "of token, logs and process ids; at most 40 letters"),
        },
    ),
    "slurm": (
        "slurm.sh.j2",
        "a Slurm job whose nodes are a Ray cluster, for one study",
        {
            "nodes": Value("2", "of Slurm"),
            "cpus": Value("8", "of each node"),
            "gpus": Value("0", "of each node"),
            "time": Value("24:00:00", "limit; the study is stopped cleanly before it"),
            "partition": Value("", "of Slurm; empty for its default"),
            "setup": Value("", "a shell command that goes first, such as: source /shared/venv/bin/activate"),
            "job_name": _NAME,
        },
    ),
    "onpremise": (
        "onpremise.yaml.j2",
        "`ray up` on machines of your own, over ssh",
        {
            "head": Value(None, "address of the head"),
            "workers": Value(None, "addresses of the workers, with commas between"),
            "output_dir": Value(None, "a folder that all of them see"),
            "install": _INSTALL,
            "ssh_user": Value(None, "user on each machine"),
            "ssh_private_key": Value("~/.ssh/id_ed25519", "its key, on this machine"),
            "cluster_name": _NAME,
        },
    ),
    "aws": ("aws.yaml.j2", "`ray up` on Amazon EC2", _CLOUD),
    "gcp": (
        "gcp.yaml.j2",
        "`ray up` on Google Compute Engine",
        {
            "project": Value(None, "id of the project"),
            "zone": Value(None, "of the region, such as europe-west4-a"),
            **_CLOUD,
        },
    ),
    "kuberay": (
        "kuberay.yaml.j2",
        "a RayJob on Kubernetes, for one study",
        {
            "image": Value(None, "with promptfront installed"),
            "claim": Value(None, "PersistentVolumeClaim (ReadWriteMany) for results and data"),
            "output_dir": Value("/mnt/outputs", "where it is mounted in each pod"),
            "workers": Value("2", "pods that run trials"),
            "cpus": Value("8", "of a worker"),
            "gpus": Value("0", "of a worker"),
            "memory": Value("32Gi", "of a worker"),
            "ray_version": Value("2.60.0", "the image's"),
            "cluster_name": _NAME,
        },
    ),
}
"""By kind: the template's file, what it is for, and its values."""


def render(kind: str, values: Mapping[str, str], name: str = "") -> str:
    """The file of a kind of cluster.

    Args:
        kind: one of KINDS.
        values: by name; those that are left out have their defaults.
        name: of the file, for its own comments.

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
    """A kind, and what it is for."""
    _known(kind)
    return f"{kind}: {KINDS[kind][1]}"


def describe(kind: str) -> str:
    """The values of a kind, a line each."""
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
