"""A stand-in for the read-aloud service that speaks its protocol, on a port of this machine, and fails to order."""

import asyncio
import io
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape

import numpy as np
import soundfile
from aiohttp import WSMsgType, web

RATE = 24_000
LETTERS_PER_S = 15


def mp3(seconds: float, level: float = 0.4) -> bytes:
    file = io.BytesIO()
    tone = level * np.sin(2 * np.pi * 200 * np.arange(round(seconds * RATE)) / RATE)
    soundfile.write(file, tone, RATE, format="MP3")
    return file.getvalue()


class EdgeService:
    """`script` says how the next calls go, one word each: a status, or a word of `BEHAVIOUR`; then all go well."""

    def __init__(self) -> None:
        self.script: list[str] = []
        self.asked: list[tuple[str, str, str]] = []
        """Text, voice and rate of each call that got as far as saying what it wants."""
        self.calls = 0
        self.headers: dict[str, str] = {}
        """Of a refusal."""
        self.url = ""
        self.busy = self.most_busy = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        how = self.script.pop(0) if self.script else "works"
        if how.isdigit():
            return web.Response(status=int(how), headers=self.headers)
        assert {"Sec-MS-GEC", "ConnectionId"} <= set(request.query)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            await self.talk(socket, how)
        finally:
            self.busy -= 1
        await socket.close()
        return socket

    async def talk(self, socket: web.WebSocketResponse, how: str) -> None:
        config, asked = await socket.receive_str(), await socket.receive_str()
        assert "Path:speech.config" in config and "Path:ssml" in asked
        found = re.search(r"<voice name='(.*?)'><prosody pitch='.*?' rate='(.*?)' volume='.*?'>(.*?)</prosody>", asked)
        assert found
        text = unescape(found[3])
        self.asked.append((text, found[1], found[2]))
        if how == "hangs":
            async for message in socket:  # until the other side has had enough
                assert message.type is not WSMsgType.TEXT
            return
        await socket.send_str('X-RequestId:1\r\nPath:turn.start\r\n\r\n{"context": {}}')
        seconds = len(text) / LETTERS_PER_S / (1 + int(found[2].rstrip("%")) / 100)
        sound = mp3(seconds, 0.0 if how == "silence" else 0.4)
        sent = {"nothing": b"", "half": sound[: len(sound) // 2]}.get(how, sound)
        for at in range(0, len(sent), 4096):
            head = b"X-RequestId:1\r\nContent-Type:audio/mpeg\r\nX-StreamId:1\r\nPath:audio\r\n"
            await socket.send_bytes(len(head).to_bytes(2, "big") + head + sent[at : at + 4096])
        if how != "half":
            await socket.send_str("X-RequestId:1\r\nPath:turn.end\r\n\r\n{}")


@contextmanager
def edge_service(tls: ssl.SSLContext | None = None) -> Iterator[EdgeService]:
    """A running service, in a thread of its own."""
    service, loop, ready = EdgeService(), asyncio.new_event_loop(), threading.Event()

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/edge/v1", service.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        host, port = runner.addresses[0]
        service.url = f"{'wss' if tls else 'ws'}://{host}:{port}/edge/v1?TrustedClientToken=x"
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(serve())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.run_until_complete(left())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    async def left() -> None:
        """Waits for whoever is still saying goodbye, and for the sockets that are closed after that."""
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        for _ in range(10):
            await asyncio.sleep(0)

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(60), "the stand-in did not start"
    try:
        yield service
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
