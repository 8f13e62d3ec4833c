"""Sends what is due in `deliveries`, signed, to addresses that callers have named.

Signed as in the Standard Webhooks scheme: base64 of HMAC-SHA256 over "<id>.<timestamp>.<body>", in the headers
webhook-id, webhook-timestamp and webhook-signature. Anything but a 2xx within the time limit is a failure. Answers are
not read, redirects not followed; `egress` says where a connection may go.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import logging
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import aiohttp
from pydantic import SecretStr
from yarl import URL

from configs.app import WebhookSettings
from models.errors import ArtifactMissing, InvalidJob
from serve_app import egress
from serve_app.jobs.deliveries import Delivery, Outbox

logger = logging.getLogger(__name__)

MAX_URL = 2048
PREFIX = "whsec_"
GONE = 410
"""The receiver wants no more of it."""


def check_address(url: str, allowed: Iterable[egress.Network] = ()) -> None:
    """Raises InvalidJob unless `url` could be sent to; where a name leads is looked at when it is used."""
    try:
        address = URL(url)
        fits = address.scheme in ("http", "https") and bool(address.host) and " " not in url and address.port != 0
    except ValueError:
        fits = False
    if not fits or address.user or address.password or len(url) > MAX_URL:
        raise InvalidJob(
            f"a webhook is an address with http or https, without a password, of at most {MAX_URL} characters"
        )
    with suppress(ValueError):  # a name
        if not egress.is_public(ipaddress.ip_address(str(address.host)), allowed):
            raise InvalidJob("a webhook does not go into a private network; name an address that others reach too")


def signing_key(secret: SecretStr) -> bytes:
    """The bytes to sign with: after `whsec_` they are base64, else the text itself. Raises ArtifactMissing."""
    text = secret.get_secret_value()
    if not text.startswith(PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ArtifactMissing("WEBHOOK_SECRET begins with whsec_ and is not base64 after that; set it anew") from error


def signature(key: bytes, delivery: str, timestamp: int, body: str) -> str:
    """The header's value: version and signature."""
    told = f"{delivery}.{timestamp}.{body}".encode()
    return f"v1,{base64.b64encode(hmac.digest(key, told, hashlib.sha256)).decode()}"


class Webhooks:
    """`run()` is the loop that sends, one task per process."""

    def __init__(self, outbox: Outbox, settings: WebhookSettings, key: bytes, clock: Callable[[], float] = time.time):
        self._outbox = outbox
        self._settings = settings
        self._key = key
        self._clock = clock
        self._tries: dict[asyncio.Task[None], str] = {}
        self._freed = asyncio.Event()

    async def run(self) -> None:
        try:
            while True:
                self._freed.clear()
                try:
                    await self.begin()
                except Exception:  # the database may be away for a while
                    logger.exception("webhooks could not be sent")
                with suppress(TimeoutError):
                    async with asyncio.timeout(random.uniform(0.9, 1.1) * self._settings.every_s):  # noqa: S311
                        await self._freed.wait()
        finally:
            for task in self._tries:
                task.cancel()

    async def begin(self) -> list["asyncio.Task[None]"]:
        """Starts a try of each delivery that is due and has a place."""
        due = await asyncio.to_thread(self._outbox.claim, list(self._tries.values()))
        begun = {asyncio.create_task(self._try(one)): one.tenant for one in due}
        self._tries |= begun
        for task in begun:
            task.add_done_callback(self._ended)
        return list(begun)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self._tries[task]
        self._freed.set()
        if not task.cancelled() and (error := task.exception()):  # it stays claimed, and is due when that has run out
            logger.error("what became of a webhook could not be written down", exc_info=error)

    async def _try(self, delivery: Delivery) -> None:
        try:
            async with self._session() as session:
                status = await self._post(session, delivery)
        except Exception as error:
            await asyncio.to_thread(self._outbox.failed, delivery, self._reason(error), _is_private(error))
            return
        if 200 <= status < 300:
            await asyncio.to_thread(self._outbox.delivered, delivery)
        else:
            reason = f"it answered with {status}" + (", and redirects are not followed" if status // 100 == 3 else "")
            await asyncio.to_thread(self._outbox.failed, delivery, reason, status == GONE)

    def _session(self) -> aiohttp.ClientSession:
        """Of one try: the next one to the same name looks anew where it leads."""
        return aiohttp.ClientSession(
            connector=egress.connector(self._settings.allowed_networks),
            timeout=aiohttp.ClientTimeout(total=self._settings.timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def _post(self, session: aiohttp.ClientSession, delivery: Delivery) -> int:
        """The status of the answer, whose body is left unread."""
        now = int(self._clock())
        headers = {
            "content-type": "application/json",
            "user-agent": "dubserve",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._key, delivery.id, now, delivery.body),
        }
        body = delivery.body.encode()
        async with session.post(delivery.url, data=body, headers=headers, allow_redirects=False) as answer:
            return answer.status

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"it did not answer within {self._settings.timeout_s:g} s"
        if _is_private(error):
            return "it lies in a private network, and nothing was sent there"
        if not isinstance(error, aiohttp.ClientError | OSError | ValueError):
            logger.error("unforeseen error in a webhook", exc_info=error)
        return "no connection could be made to it"


def _is_private(error: Exception) -> bool:
    """Whether nothing was sent because of where it would have gone, which no further try would change."""
    return isinstance(getattr(error, "os_error", error), egress.NotPublic)
