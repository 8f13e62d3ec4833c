"""A config is made to fit the machine, and the profiles that come with the service fit one."""

from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from configs.app import AppSettings
from configs.engines import TranslationSettings
from models.errors import StageFailed
from models.translation.network import _providers
from serve_app.resources import asked, deployments, fitted, least, most
from tests.conftest import REPOSITORY

PROFILES = {path.name: yaml.safe_load(path.read_text()) for path in (
    REPOSITORY / "serve_config.yaml", REPOSITORY / "configs/gpu.yaml")}  # fmt: skip
GPU = PROFILES["gpu.yaml"]


def part(config: Any, name: str) -> Any:
    return next(one for one in deployments(config) if one["name"] == name)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_what_serve_and_the_service_read(name: str) -> None:
    schema = ServeDeploySchema.model_validate(PROFILES[name])
    AppSettings.model_validate(PROFILES[name]["applications"][0]["args"])
    assert [one.name for one in schema.applications[0].deployments] == ["Ingress", "Driver", "Recognizer", "Translator"]


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_scales_within_bounds_that_agree(name: str) -> None:
    for deployment in deployments(PROFILES[name]):
        scaling = deployment["autoscaling_config"]
        assert 1 <= least(deployment) <= most(deployment), deployment["name"]
        assert 0 < scaling["target_ongoing_requests"] <= deployment["max_ongoing_requests"], deployment["name"]
        assert scaling["upscale_delay_s"] < scaling["downscale_delay_s"], deployment["name"]


def test_the_default_starts_on_two_cores_and_its_models_are_loaded_once_there() -> None:
    config = PROFILES["serve_config.yaml"]
    fits, warnings = fitted(config, {"CPU": 2.0})
    assert fits is config and warnings == []
    driver = part(config, "Driver")["ray_actor_options"]["num_cpus"]
    models = [part(config, name)["ray_actor_options"]["num_cpus"] for name in ("Recognizer", "Translator")]
    assert most(part(config, "Driver")) * driver + sum(models) <= 2.0, "both Drivers can start"
    assert 2.0 - sum(models) - driver < min(models), "beside one Driver there is no room for models a second time"


def test_the_fractions_of_a_gpu_add_up_to_one_at_most() -> None:
    whole = sum(most(one) * one["ray_actor_options"].get("num_gpus", 0) for one in deployments(GPU))
    assert 0 < asked(GPU, "num_gpus") <= whole <= 1


def test_memory_of_the_gpu_is_bounded() -> None:
    engines = AppSettings.model_validate(GPU["applications"][0]["args"]).engines
    assert engines.asr.device == "auto" and engines.asr.batch_s <= 240
    assert 0 < engines.translation.gpu_memory_mb <= 1024


def test_without_a_gpu_the_profile_runs_on_the_cores_there_are() -> None:
    fits, warnings = fitted(GPU, {"CPU": 2.0})
    assert asked(fits, "num_gpus") == 0 and 0 < asked(fits, "num_cpus") <= 2
    assert len(warnings) == 2 and all(one.startswith("warning") for one in warnings)
    args = fits["applications"][0]["args"]
    settings = AppSettings.model_validate(args)
    assert (settings.engines.asr.device, settings.engines.asr.compute_type) == ("cpu", "auto")
    assert settings.engines.asr.batch_s == AppSettings().engines.asr.batch_s
    assert settings.engines.asr.model == GPU["applications"][0]["args"]["engines"]["asr"]["model"]
    assert most(part(fits, "Recognizer")) == 1
    assert asked(GPU, "num_gpus") > 0, "what was read stays as it was"
    ServeDeploySchema.model_validate(fits)


def test_with_a_gpu_it_is_left_alone() -> None:
    fits, warnings = fitted(GPU, {"CPU": 16.0, "GPU": 1.0})
    assert fits is GPU and warnings == []


def test_a_gpu_that_cuda_cannot_use_leaves_the_profile_to_the_cores() -> None:
    fits, [warning] = fitted(GPU, {"CPU": 16.0, "GPU": 1.0}, lambda: "libcudnn.so.9 cannot be opened")
    assert warning.startswith("warning") and "libcudnn.so.9 cannot be opened" in warning
    assert fits == fitted(GPU, {"CPU": 16.0})[0] and asked(fits, "num_gpus") == 0


def test_cuda_by_name_is_not_replaced() -> None:
    named = deepcopy(GPU)
    named["applications"][0]["args"]["engines"]["asr"]["device"] = "cuda"
    assert fitted(named, {"CPU": 16.0, "GPU": 1.0}, lambda: "broken") == (named, [])
    assert fitted(named, {"CPU": 16.0})[0] == fitted(GPU, {"CPU": 16.0})[0], "where there is none, it is"


def test_a_machine_that_is_not_asked_for_a_gpu_is_not_looked_at() -> None:
    def never() -> str:
        raise AssertionError

    assert fitted(PROFILES["serve_config.yaml"], {"CPU": 2.0, "GPU": 1.0}, never)[1] == []


def test_too_few_gpus_are_an_error() -> None:
    config = {
        "applications": [{"deployments": [{"name": "x", "num_replicas": 3, "ray_actor_options": {"num_gpus": 1}}]}]
    }
    with pytest.raises(StageFailed, match="asks for 3 GPUs and this machine has 2"):
        fitted(config, {"CPU": 8.0, "GPU": 2.0})


def test_every_config_of_the_repository_opens_the_same_door() -> None:
    doors = {tuple(profile["grpc_options"]["grpc_servicer_functions"]) for profile in PROFILES.values()}
    assert len(doors) == 1 and "serve_app.doors.tls.add_tls_to_server" in doors.pop()


def test_the_bound_on_the_gpus_memory_reaches_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    artifact: Any = SimpleNamespace(manifest=SimpleNamespace(quantisation="none"), folder=REPOSITORY)
    [(name, options), rest] = _providers(artifact, TranslationSettings(device="cuda", gpu_memory_mb=512))
    assert (name, options["gpu_mem_limit"], rest) == (there[0], str(512 * 2**20), there[1])
    assert "gpu_mem_limit" not in _providers(artifact, TranslationSettings(device="cuda"))[0][1]
    assert _providers(artifact, TranslationSettings(device="cpu", gpu_memory_mb=512)) == [there[1]]
