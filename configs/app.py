"""`AppSettings` is exactly `args:` of serve_config.yaml: *what* is asked of each part.

*Where and how many* (replicas, GPUs, batch sizes) is `deployments:` of the same file, in Ray's own words. Secrets and
roots come from the environment (`Roots`). There is no third place.
"""

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from pydantic import Field, IPvAnyNetwork, SecretStr

from configs.base import Settings
from configs.engines import EngineSettings
from configs.environment import secret
from configs.pipeline import PipelineSettings


class JobSettings(Settings):
    lease_s: float = Field(10.0, gt=0, description="a Driver silent for so long has lost its job to the next claimant")
    renew_s: float = Field(1.0, gt=0)
    tick_s: float = Field(0.5, gt=0, description="how often Ingress polls the store for its streams and tokens")
    heartbeat_s: float = Field(1.5, gt=0, description="a stream says something at least this often; the wire allows 2")
    retry_s: float = Field(
        5.0, ge=0, description="wait before a job is tried again, doubled with each attempt, more or less by chance"
    )
    space_s: float = Field(30.0, ge=0, description="a job that met a full disk waits about so long and looks again")
    min_free_memory_bytes: int = Field(
        512 * 1024**2, ge=0, description="a Driver takes no job while less memory is available on its machine"
    )
    min_free_disk_bytes: int = Field(
        1024**3, ge=0, description="likewise, on the disks of the work folder and of the results"
    )
    min_free_gpu_bytes: int = Field(
        0, ge=0, description="likewise, of the memory of each GPU that nvidia-smi lists; 0: it is not asked"
    )
    max_load: float | None = Field(
        None, gt=0, description="likewise, while more processes than this want each core; null: however many do"
    )
    attempts: int = Field(3, ge=1, description="claims of one job that ended with a dead worker before it is given up")
    max_queued: int = Field(
        10_000,
        ge=1,
        description="jobs of all tenants that may wait, at most four fifths of them one tenant's",
    )
    share_window_s: float = Field(
        3600.0, ge=0, description="runs of so long ago still count when it is decided who is next"
    )


DAY_S = 24 * 3600.0


class CleanupSettings(Settings):
    """How long things are kept, in seconds; null: for ever. What a live job needs is never touched."""

    every_s: float = Field(600.0, gt=0)
    workspaces_s: float | None = Field(
        3 * DAY_S, ge=0, description="checkpoints after a job failed or was cancelled; submitted later, it begins anew"
    )
    redub_s: float | None = Field(
        DAY_S, ge=0, description="the same after a job completed; dubbed again later, its film is heard again"
    )
    previews_s: float | None = Field(3 * DAY_S, ge=0, description="after the job has ended")
    uploads_s: float | None = Field(
        30 * DAY_S, ge=0, description="a video or transcript after the last job that named it has ended"
    )
    unnamed_uploads_s: float | None = Field(
        None, ge=0, description="a file in the uploads folder that no job ever named, after its last change"
    )
    artifacts_s: float | None = Field(None, ge=0, description="results after their job has ended")
    rows_s: float | None = Field(
        None,
        ge=DAY_S,
        description="log lines, attempts and told webhooks of a job after it has ended; when none of its files is left,"
        " the job itself with its line of usage; calls that were answered at once, after they were made",
    )
    grace_s: float = Field(
        DAY_S, gt=0, description="what belongs to no job, or was left behind half done, once nothing in it changes"
    )


class IngressSettings(Settings):
    anonymous: bool = Field(
        True, description="callers without a key are the tenant `anonymous`; false: every call needs a key"
    )
    plaintext_from: tuple[IPvAnyNetwork, ...] = Field(
        (ip_network("127.0.0.0/8"), ip_network("::1/128")),
        description="networks whose gRPC calls are taken without TLS; from elsewhere they are refused",
    )
    operators: tuple[str, ...] = Field(
        (), description="tenants that see the whole queue and everybody's usage; without any tenant, everybody does"
    )
    max_upload_bytes: int = Field(2 * 1024**3, gt=0)
    look_s: float = Field(
        30.0, gt=0, description="an HTTP submission whose video takes longer to look into is refused; jobs have longer"
    )
    detect_timeout_s: float = Field(55.0, gt=0)
    max_audio_bytes: int = Field(
        256 * 1024**2, gt=0, description="of a recording whose text is wanted in the same call"
    )
    max_audio_s: float = Field(2 * 3600, gt=0, description="likewise; what is longer belongs into a job")
    submissions_a_minute: int | None = Field(
        None,
        ge=1,
        description="jobs, and questions for a language, that one Ingress takes from each tenant in a minute, or from"
        " each address without a key; null: any number",
    )
    audio_calls_a_minute: int | None = Field(
        None,
        ge=1,
        description="calls of the /v1/audio routes and of DetectLanguage that each tenant may make; null: any number",
    )
    audio_at_once: int = Field(8, ge=1, description="recordings that are listened to at the same time; others wait")


class WebhookSettings(Settings):
    """How the end of a job is told to an address of its owner; only with WEBHOOK_SECRET in the environment."""

    timeout_s: float = Field(10.0, gt=0, description="for one try, from the connection to the answer's headers")
    tries: int = Field(8, ge=1)
    backoff_s: float = Field(10.0, ge=0, description="pause after the first try; four times as long after each")
    max_backoff_s: float = Field(6 * 3600.0, ge=0)
    every_s: float = Field(1.0, gt=0, description="how often Ingress looks for what is due")
    at_once: int = Field(16, ge=1, description="tries at the same time, in each Ingress")
    for_one: int = Field(4, ge=1, description="of these, for one tenant")
    allowed_networks: tuple[IPvAnyNetwork, ...] = Field(
        (), description="private networks that may be reached all the same, such as 10.1.0.0/16"
    )


class TelemetrySettings(Settings):
    """What an operator sees; metrics are always there."""

    logs: Literal["plain", "json"] = Field(
        "plain", description="what `dubserve serve` prints: a few lines for people, or every event as a line of JSON"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otlp_endpoint: str = Field(
        "",
        description="where spans are sent over HTTP, such as http://collector:4318; empty: to"
        " OTEL_EXPORTER_OTLP_ENDPOINT, or nowhere when that is not set either",
    )
    otlp_timeout_s: float = Field(5.0, gt=0, description="for one sending; what cannot be sent is dropped")
    otlp_every_s: float = Field(5.0, gt=0, description="spans are sent so often, or when 512 of them wait")
    trace_share: float = Field(
        1.0, ge=0, le=1, description="of the traces that begin here; one that a caller began is the caller's to decide"
    )


class AppSettings(Settings):
    engines: EngineSettings = EngineSettings()
    pipeline: PipelineSettings = PipelineSettings()
    jobs: JobSettings = JobSettings()
    cleanup: CleanupSettings = CleanupSettings()
    ingress: IngressSettings = IngressSettings()
    webhooks: WebhookSettings = WebhookSettings()
    telemetry: TelemetrySettings = TelemetrySettings()


class Roots(Settings):
    """The shared folders and the database, from the environment; the defaults lie under ./var."""

    uploads: Path
    artifacts: Path
    work: Path
    database_url: SecretStr
    webhook_secret: SecretStr | None = None

    @classmethod
    def from_environment(cls) -> "Roots":
        """Reads UPLOADS_DIR, ARTIFACTS_DIR, TEMP_WORK_DIR, DATABASE_URL and WEBHOOK_SECRET; makes the folders.

        Paths are absolute. The last two may be in files: DATABASE_URL_FILE, WEBHOOK_SECRET_FILE. Raises
        UnfitEnvironment for such a file that cannot be read.
        """
        home = Path("var").resolve()
        folders = {
            "uploads": Path(os.environ.get("UPLOADS_DIR") or home / "uploads").resolve(),
            "artifacts": Path(os.environ.get("ARTIFACTS_DIR") or home / "artifacts").resolve(),
            "work": Path(os.environ.get("TEMP_WORK_DIR") or home / "work").resolve(),
        }
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        url = secret("DATABASE_URL") or SecretStr(f"sqlite:///{folders['work'] / '.jobs.sqlite'}")
        return cls(**folders, database_url=url, webhook_secret=secret("WEBHOOK_SECRET"))

    def as_environment(self) -> dict[str, str]:
        """The same roots as variables, absolute, for processes that run elsewhere; secrets in files stay there."""
        secrets = {"DATABASE_URL": self.database_url, "WEBHOOK_SECRET": self.webhook_secret}
        shown = {name: value.get_secret_value() for name, value in secrets.items() if value}
        files = {name: os.environ.get(f"{name}_FILE") for name in secrets}
        return {
            "UPLOADS_DIR": str(self.uploads),
            "ARTIFACTS_DIR": str(self.artifacts),
            "TEMP_WORK_DIR": str(self.work),
            **{name: value for name, value in shown.items() if not files[name]},
            **{f"{name}_FILE": str(Path(path).resolve()) for name, path in files.items() if path},
        }
