"""A Ray instance of our own on this machine, with the application of one config file in it, until somebody says stop.

The HTTP door listens on loopback. Serve's gRPC door has no host option and listens on every interface; calls that come
in the clear from another machine are refused there (doors/tls.py). Ray's own processes listen likewise, and ask for a
token that is made anew at each start; a machine with a network needs a firewall in front of them. There is no dashboard
here (it costs half a gigabyte); `serve deploy` on a cluster started with `ray start --head` brings it.

Without a terminal, SIGHUP reads the config file again and deploys what it says now, a replica at a time: jobs go on
from their checkpoints, and clients take their streams up again. Ports and other things outside `applications:` stay as
they were.
"""

import io
import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

# Read once, when ray is imported. Ray's processes listen on every interface and run what they are sent: so each start
# has a secret of its own, which its processes inherit and nobody else knows.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Serve would take messages of two gigabytes; ours are some words, and a key opens the door only after they were read.
os.environ.setdefault("RAY_SERVE_GRPC_MAX_MESSAGE_SIZE", str(4 * 1024**2))
# Its control loop looks ten times a second, and every process hands on its measurements as often: a third of what an
# idle service takes of a core.
os.environ.setdefault("RAY_SERVE_CONTROL_LOOP_INTERVAL_S", "0.5")
os.environ.setdefault("RAY_SERVE_METRICS_EXPORT_INTERVAL_MS", "2000")
# A call would cross a thread at every step, and go from the proxy to its replica as a task of Ray: that takes three
# times as long. No replica of ours blocks its loop: engines and files work in threads of their own. (Over several
# nodes Ray's way is the better one, docs/cluster.md says why.)
os.environ.setdefault("RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD", "0")
os.environ.setdefault("RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP", "0")
os.environ.setdefault("RAY_SERVE_PROXY_USE_GRPC", "1")
os.environ.setdefault("RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH", str(8 * 1024**2))  # a message, packed once more
# A proxy that the environment names is for the world outside, and not for the way from one process of ours to the next.
os.environ["grpc_proxy"] = ""  # noqa: SIM112
# uvloop forks to start a child, and a fork of a process in which gRPC and OpenTelemetry are at work dies (SIGSEGV).
os.environ.setdefault("RAY_USE_UVLOOP", "0")
# What processes print goes to files in /tmp, which is memory in a container; without a limit none of them ever ends.
os.environ.setdefault("RAY_ROTATION_MAX_BYTES", str(64 * 1024**2))
os.environ.setdefault("RAY_ROTATION_BACKUP_COUNT", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import psutil
import ray
import yaml
from ray import serve
from ray._private import ray_logging
from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus, ServeDeploySchema

from configs.environment import Tls
from models.errors import ArtifactMissing, DubError, StageFailed
from serve_app import machine
from serve_app.doors.tls import check
from serve_app.ports import free
from serve_app.resources import fitted

OBJECT_STORE_BYTES = 256 * 1024**2
"""Clips of sound are all that travels: 30 s are 2 MB."""

POLL_S = 0.25
WATCH_S = 1.0
LATE = "Ray did not start in time; try again when this machine is less busy, or with --verbose, which shows why"

HEART = ("raylet", "gcs_server")
"""The scheduler of this machine and the control store."""

FAILED = (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY)


def serve_until_stopped(
    config: Path, say: Callable[[str], None], verbose: bool = False, json_lines: bool = False
) -> None:
    """Starts Ray, deploys `config`, and returns after SIGINT or SIGTERM, when everything is down again.

    Raises UnfitEnvironment for certificates that cannot be used, ArtifactMissing with the reason when the application
    does not come up, StageFailed when a port is taken or when Ray itself died: whoever supervises this process starts
    it again, and the jobs go on from their checkpoints.
    """
    schema = ServeDeploySchema.model_validate(yaml.safe_load(config.read_text()))
    tls = Tls.from_environment()
    if tls:
        check(tls)
    check_ports(schema, tls)
    stopped, changed = threading.Event(), threading.Event()
    say("starting Ray on this machine")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # what Ray does while it starts
    try:
        start_ray(verbose, json_lines)
    except SystemExit:
        say("shutting down")
        shut_down(verbose)
        return
    try:
        for name in (signal.SIGINT, signal.SIGTERM):  # after Ray, which sets handlers of its own
            signal.signal(name, lambda *_: stopped.set())
        if not sys.stdin.isatty():  # else it is what a terminal says when it is closed
            signal.signal(signal.SIGHUP, lambda *_: changed.set())
        schema = fitting(config, say)
        deploy(schema, stopped, say)
        if not stopped.is_set():
            sealed = f" and {tls.port} with TLS" if tls else ""
            web = "HTTPS" if schema.http_options.ssl_certfile else "HTTP"
            say(f"ready: gRPC on port {schema.grpc_options.port}{sealed}, {web} on port {schema.http_options.port}")
        while watch(stopped, changed):
            update(config, stopped, say)
        say("shutting down")
    finally:
        shut_down(verbose)


def watch(stopped: threading.Event, changed: threading.Event) -> bool:
    """Returns whether the config has changed; False when it is time to stop.

    Raises StageFailed when a process dies without which there is no Ray: it would wait a minute for its control store
    to come back, and forever for its scheduler, with doors that are open and nobody behind them.
    """
    while not stopped.wait(WATCH_S):
        if not heart_beats():
            raise StageFailed("serve", "Ray has died; start the service again, its jobs go on where they stood")
        if changed.is_set():
            changed.clear()
            return True
    return False


def update(config: Path, stopped: threading.Event, say: Callable[[str], None]) -> None:
    """Deploys what the config file says now. One that does not fit, or does not come up, ends nothing: it is told."""
    say("the config is read again")
    try:
        roll_out(fitting(config, say), stopped, say)
    except DubError as error:
        say(f"not updated: {error}")
    except (OSError, ValueError, yaml.YAMLError):
        say("not updated: the config file cannot be read; mend it and send the signal again")
    else:
        say("updated")


def heart_beats() -> bool:
    beating = set()
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                beating.add(child.name())
    return beating >= set(HEART)


def end_at_once() -> None:
    """Kills what is left of Ray, which to be asked nicely would have to be whole."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()


def shut_down(verbose: bool) -> None:
    """Ray prints the end of its own actors as errors; nobody but its developers wants to read that."""
    if not heart_beats():
        end_at_once()
        return
    with nullcontext() if verbose else redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        serve.shutdown()
        ray.shutdown()


def start_ray(verbose: bool, json_lines: bool = False) -> None:
    if not verbose:
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        ray.init(
            address="local",
            namespace="serve",
            include_dashboard=False,
            log_to_driver=verbose or json_lines,
            logging_level=logging.INFO if verbose else logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
        )
    except Exception as error:  # of many kinds: a machine so busy that its processes do not find each other in time
        if verbose:
            logging.getLogger(__name__).exception("Ray has not started")
        raise StageFailed("serve", LATE) from error
    if json_lines and not verbose:  # Ray would put a name in front of each, and mix them with its own
        ray_logging.global_worker_stdstream_dispatcher.remove_handler("ray_print_logs")
        ray_logging.global_worker_stdstream_dispatcher.add_handler("dubserve", pass_on)


def pass_on(told: dict[str, Any]) -> None:
    """What the processes of the service have printed as lines of JSON, as it is."""
    for line in () if told["is_err"] else told["lines"]:
        if line.startswith("{"):
            print(line, flush=True)  # noqa: T201, it is for whoever collects the output


def deploy(schema: ServeDeploySchema, stopped: threading.Event, say: Callable[[str], None]) -> None:
    """Deploys and waits until every application runs; a replica runs only after its engine's golden answer."""
    serve.start(
        proxy_location=schema.proxy_location,
        http_options=schema.http_options.model_dump(),
        grpc_options=schema.grpc_options.model_dump(),
    )
    roll_out(schema, stopped, say)


def roll_out(schema: ServeDeploySchema, stopped: threading.Event, say: Callable[[str], None]) -> None:
    """Raises ArtifactMissing with the reason when an application does not come up."""
    # what `serve run FILE` does; there is no public call that takes a config file
    _get_global_client().deploy_apps(schema, _blocking=False)
    say("loading the engines")
    while not stopped.is_set():
        states = serve.status().applications.values()
        for state in states:
            if state.status in FAILED:
                raise ArtifactMissing(reason(state))
        if states and all(state.status == ApplicationStatus.RUNNING for state in states):
            return
        time.sleep(POLL_S)


def reason(state: Any) -> str:
    """The last telling line of why an application did not come up; the whole of it is in Ray's logs."""
    texts = [deployment.message for deployment in state.deployments.values()] + [state.message]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    ours = [line for line in lines if "models.errors." in line]
    if ours:
        return ours[-1].split("models.errors.", 1)[1].partition(": ")[2]
    return next((line for line in reversed(lines) if line), "the application did not come up")


def check_ports(schema: ServeDeploySchema, tls: Tls | None) -> None:
    doors = [("gRPC", schema.grpc_options.port), ("HTTP", schema.http_options.port)]
    for door, port in [*doors, ("gRPC with TLS", tls.port)] if tls else doors:
        if not free(port):
            raise StageFailed("serve", f"{door} port {port} is taken; stop what listens there")


def fitting(config: Path, say: Callable[[str], None]) -> ServeDeploySchema:
    """What the config file asks for, as far as this machine has it. Raises StageFailed when it has not."""
    content = yaml.safe_load(config.read_text())
    ServeDeploySchema.model_validate(content)
    content, warnings = fitted(content, ray.cluster_resources(), lambda: machine.gpu().unfit)
    for warning in warnings:
        say(warning)
    return ServeDeploySchema.model_validate(content)
