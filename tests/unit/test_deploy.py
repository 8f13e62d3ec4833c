"""What is deployed with: the image's recipe, the compose file and the manifests of Kubernetes, without running any.

The recipe is linted, and its steps that compute something are run here. Compose's own binary reads the compose file.
Core kinds are validated against the schemas of Kubernetes; RayService against the fields of it that are used, since
its schema is an operator's that is installed apart. With the schema at hand, name it: KUBERAY_CRD=FILE pytest ….
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray._private.ray_constants import DEFAULT_DASHBOARD_AGENT_LISTEN_PORT
from ray.dashboard.http_server_agent import PUBLIC_EXACT_PATHS
from ray.serve.schema import ServeDeploySchema

from configs.app import AppSettings
from docs.describing.settings import ENVIRONMENT
from serve_app.resources import deployments, least, most
from tests.conftest import REPOSITORY

BIN = Path(sys.executable).parent
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
ROOTS = {"UPLOADS_DIR", "ARTIFACTS_DIR", "TEMP_WORK_DIR"}
KUBERNETES = "1.34"
PROFILES = ("serve_config.yaml", "configs/gpu.yaml")


def run(*command: str | Path, **options: Any) -> str:
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# -- the image ---------------------------------------------------------------------------------------------------------


def test_the_recipe_is_clean() -> None:
    run(BIN / "hadolint", "--no-color", REPOSITORY / "Dockerfile")


def test_the_image_is_nobodys_who_could_do_harm() -> None:
    stages = DOCKERFILE.split("\nFROM ")
    runtime = next(stage for stage in stages if stage.startswith("base AS runtime"))
    assert re.search(r"^USER 10001$", runtime, re.M), "by number: Kubernetes refuses a name under runAsNonRoot"
    for target in ("cpu", "cuda"):
        last = next(stage for stage in stages if stage.startswith(f"runtime AS {target}"))
        assert "USER" not in last and "RUN" not in last and "COPY --from=build" in last


def test_the_dependencies_of_the_image_are_the_projects(tmp_path: Path) -> None:
    """They are installed before the code is copied, from a list that is made of pyproject.toml alone."""
    [made] = re.findall(r'^RUN python -c "(import tomllib.*)" > ', DOCKERFILE, re.M)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    said = run(sys.executable, "-c", made.replace("'\\\\n'", "'\\n'"), cwd=tmp_path).splitlines()
    extras = PROJECT["project"]["optional-dependencies"]
    assert said == [*PROJECT["project"]["dependencies"], *extras["demo"], *extras["postgres"], *extras["cjk"]]
    assert DOCKERFILE.index("COPY pyproject.toml") < DOCKERFILE.index("pip install") < DOCKERFILE.index("COPY . .")


def test_what_the_image_installs_is_pinned_and_of_one_cuda() -> None:
    """The last command names all the libraries, and brings none along that nobody named."""
    lines = (REPOSITORY / "configs/constraints.txt").read_text().splitlines()
    pinned = {name for name, _, release in (line.partition("==") for line in lines) if release}
    commands = re.findall(r"pip install (.*?)(?=&&|$)", DOCKERFILE.replace("\\\n", ""), re.M)
    assert len(commands) == 3
    assert all(
        "-c configs/constraints.txt" in one or one.endswith("--no-deps -e .") for one in map(str.strip, commands)
    )
    *libraries, runtime = commands[-1].split("configs/constraints.txt")[1].split()
    assert "--no-deps" in commands[-1] and runtime == "onnxruntime-gpu" and {*libraries, runtime} <= pinned
    assert set(libraries) == {name for name in pinned if name.startswith("nvidia-")}
    assert all(name.endswith("-cu12") for name in libraries)
    [path] = re.findall(r"^ENV LD_LIBRARY_PATH=(.*)", DOCKERFILE, re.M)
    folders = {name.removeprefix("nvidia-").removesuffix("-cu12").replace("-", "_") for name in libraries}
    assert {part.split("/")[1] for part in path.split(":")} == folders


def test_every_folder_with_code_is_a_package_of_the_project() -> None:
    roots = ("configs", "export", "models", "serve_app")
    folders = {path.parent for root in roots for path in (REPOSITORY / root).rglob("*.py")}
    named = {".".join(folder.relative_to(REPOSITORY).parts) for folder in folders}
    assert named == set(PROJECT["tool"]["setuptools"]["packages"])


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_inside_the_image_is_reachable_from_private_networks(name: str, tmp_path: Path) -> None:
    [edit] = re.findall(r"&& (sed -i .*\n\s+-e .*?) \\\n", DOCKERFILE)
    profile = shutil.copy(REPOSITORY / name, tmp_path / "profile.yaml")
    run("sh", "-c", edit.replace("\\\n", " ") + f" {profile}")
    config = yaml.safe_load(profile.read_text())
    assert config["http_options"]["host"] == "0.0.0.0"
    settings = AppSettings.model_validate(config["applications"][0]["args"])
    networks = settings.ingress.plaintext_from
    assert len(networks) == 6 and all(network.is_private or network.is_loopback for network in networks)
    assert settings.telemetry.logs == "json"


# -- compose -----------------------------------------------------------------------------------------------------------


def composed(secrets: Path, *files: Path) -> dict[str, Any]:
    """What Compose understands of these files, the later laid over the earlier."""
    named = [part for file in files for part in ("-f", file)]
    command = (BIN / "docker-compose", *named, "config", "--format", "json")
    return dict(json.loads(run(*command, env={**os.environ, "DUB_SECRETS": str(secrets)})))


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return composed(tmp_path_factory.mktemp("secrets"), REPOSITORY / "configs/compose.yaml")


def test_compose_starts_a_closed_service(compose: dict[str, Any]) -> None:
    service = compose["services"]["dubserve"]
    assert service["read_only"] and service["user"] == "10001" and service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"] and int(service["shm_size"]) >= 2**30
    assert [mount.split(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
    assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
    assert service["deploy"]["resources"]["limits"].keys() >= {"cpus", "memory", "pids"}
    assert compose["networks"]["store"]["internal"] and "ports" not in compose["services"]["postgres"]
    assert service["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_compose_gives_what_the_service_reads_and_keeps_secrets_in_files(compose: dict[str, Any]) -> None:
    service = compose["services"]["dubserve"]
    known = {name.strip() for names, _ in ENVIRONMENT for name in names.split(",")}
    assert ROOTS < service["environment"].keys() <= known | {"XDG_CACHE_HOME", "HF_HOME"}
    [volume] = service["volumes"]
    assert all(service["environment"][name].startswith(f"{volume['target']}/") for name in ROOTS)
    mounted = {secret["target"] for secret in service["secrets"]}
    assert {service["environment"][f"{name}_FILE"] for name in ("DATABASE_URL", "WEBHOOK_SECRET")} <= mounted
    for part in compose["services"].values():
        assert not [
            name for name in part["environment"] if re.search("PASSWORD|SECRET|URL", name) and "_FILE" not in name
        ]


def test_a_config_of_ones_own_is_laid_over_as_the_documentation_says(tmp_path: Path) -> None:
    [told] = re.findall(r"```yml\n(services:.*?)```", (REPOSITORY / "docs/deploy.md").read_text(), re.S)
    (tmp_path / "own.yaml").write_text(told)
    service = composed(tmp_path, REPOSITORY / "configs/compose.yaml", tmp_path / "own.yaml")["services"]["dubserve"]
    assert service["command"][:3] == ["dubserve", "serve", "--config"]
    mounted = {volume["target"]: volume.get("read_only", False) for volume in service["volumes"]}
    assert mounted == {"/srv/dub": False, str(Path(service["command"][3]).parent): True}


# -- Kubernetes --------------------------------------------------------------------------------------------------------

MANIFESTS = list(yaml.safe_load_all((REPOSITORY / "configs/kuberay.yaml").read_text()))
[RAY] = [one for one in MANIFESTS if one["kind"] == "RayService"]
CLUSTER = RAY["spec"]["rayClusterConfig"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]

ANY: dict[str, Any] = {"type": "object"}
PARAMETERS = {"type": "object", "additionalProperties": {"type": "string"}}
NUMBER = {"type": "integer", "minimum": 0}


def strict(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


RAY_SERVICE = strict(
    ("serveConfigV2", "rayClusterConfig"),
    serveConfigV2={"type": "string"},
    serveService=strict(("spec",), metadata=ANY, spec=ANY),
    rayClusterConfig=strict(
        ("headGroupSpec", "rayVersion"),
        rayVersion={"type": "string"},
        enableInTreeAutoscaling={"type": "boolean"},
        authOptions=strict(("mode",), mode={"enum": ["disabled", "token"]}),
        autoscalerOptions=strict(idleTimeoutSeconds=NUMBER, resources=ANY, securityContext=ANY),
        headGroupSpec=strict(("template",), rayStartParams=PARAMETERS, template=ANY),
        workerGroupSpecs={
            "type": "array",
            "items": strict(
                ("groupName", "minReplicas", "maxReplicas", "template"),
                groupName={"type": "string"},
                replicas=NUMBER,
                minReplicas=NUMBER,
                maxReplicas=NUMBER,
                rayStartParams=PARAMETERS,
                template=ANY,
            ),
        },
    ),
)
"""The fields that are used, as KubeRay documents them; pods and services in it are of Kubernetes, and validated so."""


@pytest.mark.parametrize("manifest", [one for one in MANIFESTS if one is not RAY], ids=lambda one: one["kind"])
def test_a_manifest_is_what_kubernetes_takes(manifest: Any) -> None:
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_service_of_ray_is_what_its_operator_takes() -> None:
    jsonschema.validate(RAY["spec"], RAY_SERVICE)
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "Service", **RAY["spec"]["serveService"]}, KUBERNETES, True
    )
    for group in GROUPS:
        pod = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
        pod["metadata"] = {"name": "ray", **pod["metadata"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    if crd := os.environ.get("KUBERAY_CRD"):
        versions = yaml.safe_load(Path(crd).read_text())["spec"]["versions"]
        [schema] = [
            one["schema"]["openAPIV3Schema"] for one in versions if f"ray.io/{one['name']}" == RAY["apiVersion"]
        ]
        jsonschema.validate(RAY, schema)


def test_what_it_deploys_is_what_the_service_and_ray_read() -> None:
    config = yaml.safe_load(RAY["spec"]["serveConfigV2"])
    ServeDeploySchema.model_validate(config)
    settings = AppSettings.model_validate(config["applications"][0]["args"])
    assert not settings.ingress.anonymous and settings.ingress.submissions_a_minute
    assert settings.telemetry.logs == "json"
    default = yaml.safe_load((REPOSITORY / "serve_config.yaml").read_text())
    assert config["grpc_options"] == default["grpc_options"] and config["http_options"]["port"] == 8000
    assert [one["name"] for one in deployments(config)] == [one["name"] for one in deployments(default)]
    cores = int(CLUSTER["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"])
    workers = CLUSTER["workerGroupSpecs"][0]
    for bound, replicas in ((least, workers["minReplicas"]), (most, workers["maxReplicas"])):
        wanted = sum(bound(one) * one["ray_actor_options"]["num_cpus"] for one in deployments(config))
        assert wanted <= cores * replicas, bound.__name__
    constraints = (REPOSITORY / "configs/constraints.txt").read_text()
    assert f"ray=={CLUSTER['rayVersion']}" in constraints.splitlines()


NEAR = {
    "RAY_SERVE_PROXY_USE_GRPC",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD",
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH",
    "RAY_USE_UVLOOP",
}
"""For a service whose processes are all on one machine: from a node that vanishes gRPC would wait for minutes."""


def test_its_ray_has_the_variables_of_the_one_that_the_service_starts() -> None:
    """They are read by every process of Ray, so each pod needs them; the token is made by the operator."""
    source = (REPOSITORY / "serve_app/deployments/cluster.py").read_text()
    ours = dict(re.findall(r'^os\.environ\.setdefault\("(RAY_\w+)", (.+)\)', source, re.M))
    for group in GROUPS:
        env = group["template"]["spec"]["containers"][0]["env"]
        given = {one["name"]: one["value"] for one in env if one["name"].startswith("RAY_")}
        assert ours.keys() - NEAR - {"RAY_AUTH_TOKEN", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"} <= given.keys()
        assert not NEAR & given.keys()
        assert 0 < int(given["RAY_ROTATION_MAX_BYTES"]) * (1 + int(given["RAY_ROTATION_BACKUP_COUNT"])) < 2**30
        assert given["RAY_LOG_TO_STDERR"] == "1", "kubectl logs shows what the replicas print"


def test_where_keys_are_wanted_somebody_is_an_operator() -> None:
    """Else nobody's key opens /metrics, and the alert that nothing answers there would fire for ever."""
    profiles = [yaml.safe_load((REPOSITORY / name).read_text()) for name in PROFILES]
    shipped = [*profiles, yaml.safe_load(RAY["spec"]["serveConfigV2"])]
    doors = [AppSettings.model_validate(one["applications"][0]["args"]).ingress for one in shipped]
    assert all(door.operators for door in doors if not door.anonymous)
    told = (REPOSITORY / "docs/deploy.md").read_text()
    for name in doors[-1].operators:
        assert f"dubserve tenants add {name}" in told and f"dubserve keys issue {name}" in told


def test_its_pods_are_closed_and_share_what_they_must() -> None:
    assert CLUSTER["authOptions"] == {"mode": "token"}
    for pod in [*(group["template"]["spec"] for group in GROUPS), postgres()["spec"]["template"]["spec"]]:
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]} and "memory" in container["resources"]["limits"]
            variables = {one["name"]: one["value"] for one in container["env"]}
            assert not [name for name in variables if re.search("PASSWORD|SECRET|URL", name) and "_FILE" not in name]
            mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert "/tmp" in mounts
            assert all(any(value.startswith(place) for place in mounts) for value in variables.values() if "/" in value)
    [claim] = [one for one in MANIFESTS if one["kind"] == "PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_its_pods_tell_their_health_without_a_tool_that_the_image_lacks() -> None:
    """A container without probes of its own gets the operator's, which run wget."""
    containers = [one for group in GROUPS for one in group["template"]["spec"]["containers"]]
    raylet = {"path": "/api/healthz", "port": DEFAULT_DASHBOARD_AGENT_LISTEN_PORT}
    for container in containers:
        assert container["startupProbe"]["httpGet"] == container["livenessProbe"]["httpGet"] == raylet
        assert "httpGet" in container["readinessProbe"]
    assert raylet["path"] in PUBLIC_EXACT_PATHS, "the kubelet has no token of Ray's"
    for worker in containers[1:]:
        assert worker["readinessProbe"]["httpGet"] == {"path": "/-/healthz", "port": "serve"}
        assert {"name": "serve", "containerPort": 8000} in worker["ports"]


def postgres() -> Any:
    return next(one for one in MANIFESTS if one["kind"] == "StatefulSet")


def test_nobody_reaches_ray_or_the_job_store_but_those_who_must() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in MANIFESTS if one["kind"] == "NetworkPolicy"}
    open_ports = [
        port["port"] for rule in policies["dubserve"]["ingress"] if "from" not in rule for port in rule["ports"]
    ]
    assert open_ports == [8000, 50051] == [port["port"] for port in RAY["spec"]["serveService"]["spec"]["ports"]]
    [rule] = policies["dubserve-postgres"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app": "dubserve"}}}]
    labels = {json.dumps(group["template"]["metadata"]["labels"]) for group in GROUPS}
    assert labels == {'{"app": "dubserve"}'}
