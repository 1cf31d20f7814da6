"""The templates: as they were when they were last looked at, and as their readers take them.

Written anew, to be looked at: python -m tests.clusters.test_render
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from clusters.render import KINDS, TemplateError, render

GOLDEN = Path(__file__).parent / "golden"
SCRIPTS = ("local", "slurm")
RAY_UP = ("aws", "gcp", "onpremise")
GIVEN = {
    "region": "eu-west-1",
    "zone": "eu-west-1a",
    "project": "my-project",
    "head": "head-machine",
    "worker": "worker-machine",
    "workers": "10.0.0.2,10.0.0.3",
    "image": "an-image",
    "share": "files.example:/outputs",
    "output_dir": "/mnt/the outputs",
    "install": "https://files.example/promptfront-0.1.0-py3-none-any.whl",
    "ssh_user": "me",
    "claim": "outputs",
    "gpus": "2",
    "partition": "gpu",
    "setup": "source /shared/venv/bin/activate",
}
"""A value of every name that has no default, and of some that have; one with a space in it."""


def file_name(kind: str) -> str:
    return f"{kind}.{KINDS[kind][0].split('.')[1]}"


def rendered(kind: str) -> str:
    given = GIVEN | ({"workers": "3"} if kind != "onpremise" else {})
    return render(
        kind, {name: value for name, value in given.items() if name in KINDS[kind][2]}, file_name(kind)
    )


def content(kind: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(rendered(kind))
    return read


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_is_what_it_was(kind: str) -> None:
    assert rendered(kind) == (GOLDEN / file_name(kind)).read_text()


@pytest.mark.parametrize("kind", SCRIPTS)
def test_bash_can_read_the_scripts(kind: str) -> None:
    done = subprocess.run(["bash", "-n"], input=rendered(kind), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", RAY_UP)
def test_ray_takes_the_files_of_ray_up(kind: str) -> None:
    config = prepare_config(content(kind))
    validate_config(config)
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert "RAY_AUTH_MODE=token ray start" in config[commands][-1].replace(
            "RAY_JOB_STOP_WAIT_TIME_S=120 ", ""
        )
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]
    assert "~/.ray/auth_token" in config["file_mounts"]
    shell = [*config["initialization_commands"], *config["setup_commands"]]
    done = subprocess.run(["bash", "-n"], input="\n".join(shell), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert any("'/mnt/the outputs'" in command for command in shell)


def test_a_ray_job_has_what_kuberay_asks_for() -> None:
    job = content("kuberay")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert "--set output_dir='/mnt/the outputs'" in job["spec"]["entrypoint"]
    assert yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "120"}
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    (group,) = cluster["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == 3
    for template in (cluster["headGroupSpec"]["template"], group["template"]):
        (container,) = template["spec"]["containers"]
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounted == {"outputs": "/mnt/the outputs", "study": "/study"}
        assert {volume["name"] for volume in template["spec"]["volumes"]} == set(mounted)
    assert group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"


def test_the_local_script_opens_nothing_to_others() -> None:
    script = rendered("local")
    assert "--node-ip-address=127.0.0.1" in script
    assert "--dashboard-host=127.0.0.1" in script
    assert "ray stop" not in script, "it would end every Ray of the machine"


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("slrum", {}, "did you mean slurm?"),
        ("local", {"node": "3"}, "did you mean nodes?"),
        ("aws", {}, "--set region=..., --set head=..."),
    ],
)
def test_what_is_wrong_is_said(kind: str, values: dict[str, str], message: str) -> None:
    with pytest.raises(TemplateError, match=re.escape(message)):
        render(kind, values)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in KINDS:
        (GOLDEN / file_name(name)).write_text(rendered(name))
