"""Makes a config fit the machine: Serve would wait forever for a GPU, or for cores, that are not there.

A profile that asks for GPUs runs on a machine without any, on its cores and more slowly, with a warning; and likewise
where CUDA cannot be used, unless an engine asks for it by name. A machine that has some, but too few, is a mistake that
nobody should guess about, and an error. Cores are bookkeeping, since threads are counted in `args:`: where a config
asks for more than there are, every part is given its share of them.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from models.errors import StageFailed

Config = dict[str, Any]
"""A config file of Serve as YAML reads it."""

GPU_ONLY = ("batch_s", "compute_type", "gpu_memory_mb", "cache_tokens", "batch_tokens")
"""Settings of an engine that were chosen for a GPU; on the CPU their defaults are right."""


def fitted(config: Config, there: Mapping[str, float], unfit: Callable[[], str] = str) -> tuple[Config, list[str]]:
    """`config` as this machine can run it, and a sentence for whatever is different; `there` is Ray's CPU and GPU.

    `unfit` is asked only where GPUs are wanted and there: why CUDA cannot be used, or an empty string.

    Raises StageFailed when it asks for more GPUs than there are, and there are some.
    """
    warnings, gpus, cores = [], float(there.get("GPU", 0)), float(there.get("CPU", 0))
    wanted = asked(config, "num_gpus")
    if wanted > gpus:
        if gpus:
            message = (
                f"the config asks for {wanted:g} GPUs and this machine has {gpus:g}; lower num_gpus or the replicas"
            )
            raise StageFailed("serve", message)
        config = on_cpu(config)
        warnings.append("warning: the config asks for a GPU and there is none here: its engines run on the CPU, slowly")
    elif wanted and not by_name(config) and (reason := unfit()):
        config = on_cpu(config)
        warnings.append(f"warning: the GPU cannot be used ({reason}): the engines run on the CPU, slowly")
    wanted = asked(config, "num_cpus")
    if wanted > cores > 0:
        config = shared(config, cores / wanted)
        warnings.append(f"warning: the config asks for {wanted:g} cores and there are {cores:g}: its parts share them")
    return config, warnings


def asked(config: Config, resource: str) -> float:
    """How much of it all deployments need before the service can be ready."""
    return sum(least(one) * float(one.get("ray_actor_options", {}).get(resource) or 0) for one in deployments(config))


def least(deployment: Config) -> int:
    return replicas(deployment, "min_replicas")


def most(deployment: Config) -> int:
    return replicas(deployment, "max_replicas")


def replicas(deployment: Config, bound: str) -> int:
    scaling: Config = deployment.get("autoscaling_config") or {}
    return int(scaling.get(bound) or deployment.get("num_replicas") or 1)


def deployments(config: Config) -> list[Config]:
    return [one for application in config["applications"] for one in application.get("deployments", ())]


def engines(config: Config) -> list[Config]:
    return [one for each in config["applications"] for one in (each.get("args") or {}).get("engines", {}).values()]


def by_name(config: Config) -> bool:
    """Whether an engine has to compute with CUDA or not at all."""
    return any(engine.get("device") == "cuda" for engine in engines(config))


def on_cpu(config: Config) -> Config:
    config = deepcopy(config)
    for engine in engines(config):
        if engine.get("device") in ("cuda", "auto"):
            engine["device"] = "cpu"
            for name in GPU_ONLY:
                engine.pop(name, None)
    for deployment in deployments(config):
        if deployment.get("ray_actor_options", {}).pop("num_gpus", None):
            deployment.pop("autoscaling_config", None)
            deployment["num_replicas"] = 1  # several copies of the weights would not be faster on the same cores
    return config


def shared(config: Config, share: float) -> Config:
    config = deepcopy(config)
    for deployment in deployments(config):
        options = deployment.get("ray_actor_options", {})
        if options.get("num_cpus"):
            options["num_cpus"] = int(options["num_cpus"] * share * 1000) / 1000
    return config
