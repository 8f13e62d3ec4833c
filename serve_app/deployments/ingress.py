"""Ingress: both doors, gRPC and HTTP, of one desk. It takes jobs down, shows their progress, and hands files out.

It works on no video itself: accepted jobs are rows in the store, and loops started here (not in requests, which Serve
cancels with their clients) send tokens to the Drivers and poll progress for all streams at once. A client that goes
away therefore takes nothing with it. Recordings whose text is wanted in the same call are the exception: for them it
finds where speech is, in a thread of its own, and their work ends with their client.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from math import ceil
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2
from ray import serve
from ray.serve.grpc_util import RayServegRPCContext
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from configs.app import AppSettings, Roots
from configs.base import Settings
from models.errors import InvalidJob, StageFailed
from models.registry import load
from serve_app.deployments.batch import calling
from serve_app.doors import wire
from serve_app.doors.access import Access, Caller
from serve_app.doors.backpressure import Backpressure
from serve_app.doors.calls import Call
from serve_app.doors.desk import Desk
from serve_app.doors.health import Health
from serve_app.doors.http import build_api, control_of
from serve_app.doors.speech import Announcer
from serve_app.doors.spool import spool
from serve_app.doors.tls import address_of, check_caller
from serve_app.doors.transcribe import Transcriber
from serve_app.jobs.cleanup import Cleanup
from serve_app.jobs.job import Control, State
from serve_app.jobs.store import Store
from serve_app.jobs.tenants import Tenants
from serve_app.jobs.tokens import Tokens
from serve_app.jobs.webhooks import Webhooks, signing_key
from serve_app.local import in_thread
from serve_app.media.look import look
from serve_app.proto import translation_pb2 as pb
from serve_app.telemetry import begin, traces
from serve_app.telemetry.calls import told
from serve_app.telemetry.engines import observing

Message = TypeVar("Message")
READY_S = 5.0
THREADS = 12
"""For files and the database, whose pool has fifteen connections. Serve's own five are stopped by five slow uploads."""


@serve.deployment
@serve.ingress()
class Ingress:
    def __init__(
        self,
        driver: DeploymentHandle,
        recognizer: DeploymentHandle,
        translator: DeploymentHandle,
        settings: AppSettings,
    ) -> None:
        roots = Roots.from_environment()
        begin("ingress", settings, roots)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "ingress"))
        spool(roots.work)
        self._store = Store(roots.database_url.get_secret_value(), settings.jobs)
        self._store.create()
        self._app = serve.get_replica_context().app_name
        self._settings, engines = settings, settings.engines
        recognize = observing("recognize", calling(recognizer.recognize, "transcription", traced=True))
        hears = calling(recognizer.languages, "transcription")
        self._access = Access(Tenants(self._store.database), settings.ingress.anonymous)
        detect = observing("detect", in_thread(late("vad", engines.vad.engine, engines.vad, "detect")))
        self._desk = Desk(self._store, settings, roots, recognize, hears, detect, look)
        self._transcriber = Transcriber(
            settings,
            roots.work,
            detect,
            recognize,
            hears,
            observing("translate", calling(translator.translate, "translation", traced=True)),
            calling(translator.pairs, "translation"),
        )
        say = in_thread(late("tts", "fallback", engines.tts, "speak"), at_once=engines.tts.at_once)
        self._announcer = Announcer(observing("speak", say), settings.pipeline.speak)
        tokens = Tokens(self._store, driver.run.remote, settings.jobs.tick_s, self._desk.news)
        cleanup = Cleanup(self._store, roots, settings.cleanup)
        loops = [self._desk.watch, tokens, cleanup]
        if roots.webhook_secret:
            loops.append(Webhooks(self._desk.outbox, settings.webhooks, signing_key(roots.webhook_secret)))
        self._loops = [asyncio.create_task(loop.run(), name=type(loop).__name__) for loop in loops]
        self._health = Health(self._ready)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        api = build_api(self._desk, self._access, self._ready, self._transcriber, self._announcer, self._settings)
        return Backpressure(api)

    # -- the gRPC door ---------------------------------------------------------------------------------------------

    async def _caller(self, context: RayServegRPCContext) -> Caller:
        check_caller(context.peer(), context.auth_context(), self._settings.ingress.plaintext_from)
        caller = await self._access.caller(dict(context.invocation_metadata()))
        return replace(caller, address=str(address_of(context.peer()) or ""))

    async def TranslateVideo(  # noqa: N802
        self, request: pb.TranslationRequest, grpc_context: RayServegRPCContext
    ) -> AsyncIterator[pb.TranslationProgress]:
        try:
            with seen("TranslateVideo", grpc_context):
                caller = await self._caller(grpc_context)
                self._desk.pace.check(caller)
                asked = replace(wire.request(request), priority=priority(grpc_context))
                job = await self._desk.take(caller, asked)
            metadata = dict(grpc_context.invocation_metadata())
            async for job, lines in self._desk.follow(caller, job.id):  # noqa: B020
                await self._access.confirm(metadata)
                yield wire.progress(job, lines)
            if job.state is State.FAILED:
                raise wire.failure(job)
        except Exception as error:
            refused = refuse(grpc_context, error)
            if getattr(error, "retry_after", None):  # Serve hands over metadata with a message, and not with an error
                yield pb.TranslationProgress(session_id=request.session_id, status="failed", message=str(refused))
            raise refused from None
        if job.state is State.CANCELLED:  # a stream that ends OK would mean success
            grpc_context.set_code(grpc.StatusCode.CANCELLED)
            grpc_context.set_details("the job was cancelled")
            raise Refused("the job was cancelled")

    async def GetTranslationResult(  # noqa: N802
        self, request: pb.ResultRequest, grpc_context: RayServegRPCContext
    ) -> pb.TranslationResult:
        async def answer() -> pb.TranslationResult:
            return wire.result(await self._desk.job(await self._caller(grpc_context), request.session_id))

        return await answered("GetTranslationResult", answer(), grpc_context, pb.TranslationResult())

    async def CancelTranslation(  # noqa: N802
        self, request: pb.CancelRequest, grpc_context: RayServegRPCContext
    ) -> pb.CancelResponse:
        async def answer() -> pb.CancelResponse:
            await self._desk.control(await self._caller(grpc_context), request.session_id, Control.CANCEL)
            return pb.CancelResponse(success=True, message="the job is being cancelled")

        return await answered("CancelTranslation", answer(), grpc_context, pb.CancelResponse())

    async def ControlTranslation(  # noqa: N802
        self, request: pb.ControlTranslationRequest, grpc_context: RayServegRPCContext
    ) -> pb.ControlTranslationResponse:
        async def answer() -> pb.ControlTranslationResponse:
            caller = await self._caller(grpc_context)
            control = control_of(request.action)
            await self._desk.control(caller, request.session_id, control)
            return pb.ControlTranslationResponse(
                success=True, is_paused=control is Control.PAUSE, message=f"{request.action} was asked for"
            )

        return await answered("ControlTranslation", answer(), grpc_context, pb.ControlTranslationResponse())

    async def DetectLanguage(  # noqa: N802
        self, request: pb.LanguageDetectionRequest, grpc_context: RayServegRPCContext
    ) -> pb.LanguageDetectionResult:
        """A failure is an answer here, with `success` false: the API shows its message.

        Who may not ask gets an error, and so does who has used up a limit.
        """

        async def answer() -> pb.LanguageDetectionResult:
            caller = await self._caller(grpc_context)
            self._desk.pace.check(caller)
            try:
                async with await Call.begin(self._desk.calls, caller, "DetectLanguage"):
                    found = await self._desk.detect(caller, request.file_path)
            except Exception as error:
                problem = wire.fault(error)
                if problem.retry_after:
                    raise
                return pb.LanguageDetectionResult(success=False, message=problem.message)
            return pb.LanguageDetectionResult(
                detected_language=found.language, confidence=found.confidence, success=True, message=found.message
            )

        return await answered("DetectLanguage", answer(), grpc_context, pb.LanguageDetectionResult())

    async def GetAIInsights(  # noqa: N802
        self, request: pb.AIInsightsRequest, grpc_context: RayServegRPCContext
    ) -> pb.AIInsightsResponse:
        async def answer() -> pb.AIInsightsResponse:
            caller = await self._caller(grpc_context)
            return wire.insights(request.session_id, await self._desk.insights(caller, request.session_id))

        return await answered("GetAIInsights", answer(), grpc_context, pb.AIInsightsResponse())

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, grpc_context: RayServegRPCContext
    ) -> health_pb2.HealthCheckResponse:
        """grpc.health.v1: serving once every part is ready."""
        answer = await self._health.status(request.service)
        if answer.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            grpc_context.set_code(grpc.StatusCode.NOT_FOUND)
            grpc_context.set_details("there is no service of this name here")
        return answer

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, grpc_context: RayServegRPCContext
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        try:
            async for answer in self._health.watch(request.service):
                yield answer
        except Exception as error:
            raise refuse(grpc_context, error) from None

    async def List(self, request: health_pb2.HealthListRequest) -> health_pb2.HealthListResponse:  # noqa: N802
        del request
        return health_pb2.HealthListResponse(statuses=await self._health.all())

    # -- health ----------------------------------------------------------------------------------------------------

    def check_health(self) -> None:
        """Asked by Serve. A loop ends by an error alone, and without it jobs would wait and streams stand still."""
        for loop in self._loops:
            if loop.done():
                error = None if loop.cancelled() else loop.exception()
                raise StageFailed("serve", f"the loop {loop.get_name()} has ended") from error

    async def _ready(self) -> dict[str, bool]:
        """Which parts could work now. Asks Serve, not the replicas: a question would queue behind their work.

        A replica runs only after its engine gave the golden answer, so one that runs is ready.
        """
        try:
            async with asyncio.timeout(READY_S):
                status = await asyncio.to_thread(serve.status)
                await asyncio.to_thread(self._store.counts)
        except Exception:
            return {"store": False}
        deployments = status.applications[self._app].deployments
        return {"store": True} | {
            name.lower(): part.replica_states.get("RUNNING", 0) > 0 for name, part in deployments.items()
        }


def priority(context: RayServegRPCContext) -> int:
    """Comes as metadata, since the messages are the contract's. Raises InvalidJob."""
    given = dict(context.invocation_metadata()).get("priority", "0")
    try:
        return int(given)
    except ValueError:
        raise InvalidJob("a priority is a whole number") from None


class Refused(Exception):
    """Ends a stream whose code and details are set already: a plain return would look like success."""


def refuse(context: RayServegRPCContext, error: BaseException) -> Refused:
    problem = wire.fault(error)
    context.set_code(problem.grpc)
    context.set_details(problem.message)
    if problem.retry_after:
        context.set_trailing_metadata([("retry-after", str(ceil(problem.retry_after)))])
    return Refused(problem.message)


@contextmanager
def seen(call: str, context: RayServegRPCContext) -> Iterator[None]:
    """Around what a call does before it answers: counted, and in the trace of its caller."""
    began = time.perf_counter()
    with traces.span(call, traces.parent_of(dict(context.invocation_metadata()))):
        try:
            yield
        except Exception as error:
            told(call, "grpc", wire.fault(error).grpc.name, time.perf_counter() - began)
            raise
    told(call, "grpc", "OK", time.perf_counter() - began)


async def answered(call: str, answer: Awaitable[Message], context: RayServegRPCContext, empty: Message) -> Message:
    """A unary answer; on an error its code and sentence, beside an empty message, since the context cannot abort."""
    try:
        with seen(call, context):
            return await answer
    except Exception as error:
        refuse(context, error)
    return empty


def late(shelf: str, name: str, settings: Settings, verb: str) -> Callable[[list[Any]], list[Any]]:
    """An engine's verb; it is loaded when it is first asked, since most services are never sent sound or texts here."""

    @cache
    def engine() -> Any:
        return load(shelf, name, settings)

    return lambda items: list(getattr(engine(), verb)(items))
