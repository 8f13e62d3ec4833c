"""Files that mean harm: what claims to be more than it is, and what would make its reader open something else."""

import struct
from collections.abc import Callable
from pathlib import Path

from serve_app.media import ffmpeg
from tests.data.media import X264, clip, make, picture, tone

# -- more than it is ---------------------------------------------------------------------------------------------------


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def claiming(path: Path, hours: float) -> Path:
    """Two seconds of Matroska whose header speaks of hours."""
    content = clip(path.with_suffix(".mkv")).read_bytes()
    at = content.index(b"\x44\x89\x88") + 3  # Duration, eight bytes, in milliseconds
    return write(path, content[:at] + struct.pack(">d", hours * 3_600_000) + content[at + 8 :])


def crowded(path: Path, streams: int) -> Path:
    """An mp4 with one picture and many tracks of a tenth of a second of sound."""
    few = make(path.with_suffix(".few.mp4"), *picture(0.1), *tone(0.1), *X264, "-c:a", "aac")
    maps = [part for _ in range(streams - 1) for part in ("-map", "0:a")]
    return make(path, "-i", ffmpeg.file_url(few), "-map", "0:v", *maps, "-c", "copy", "-f", "mp4")


def vast(path: Path) -> Path:
    """A frame of 16,000 × 16,000 black pixels; some ten kilobytes."""
    film = ("-f", "rawvideo", "-pixel_format", "monob", "-video_size", "16000x16000", "-i", "/dev/zero")
    return make(path, *film, *tone(1.0), "-frames:v", "1", "-c:v", "png", "-c:a", "aac", "-f", "matroska")


def silent(path: Path) -> Path:
    return make(path, *picture(0.5), *X264, "-f", "mp4")


def truncated(path: Path) -> Path:
    content = clip(path.with_suffix(".whole.mp4")).read_bytes()
    return write(path, content[: len(content) // 2])


def prefixed(path: Path, prefix: bytes) -> Path:
    """A film behind something else: two kinds of file in one."""
    return write(path, prefix + clip(path.with_suffix(".film.mkv")).read_bytes())


USELESS: dict[str, Callable[[Path], Path]] = {
    "wrong magic": lambda path: write(path, b"MZ\x90\x00" + bytes(range(256)) * 40),
    "empty": lambda path: write(path, b""),
    "truncated": truncated,
    "claims 100 hours": lambda path: claiming(path, 100),
    "1,000 streams": lambda path: crowded(path, 1000),
    "16k frames": vast,
    "no audio": silent,
    "page and film": lambda path: prefixed(path, b"<!doctype html><script>alert(1)</script>" + b" " * 2000),
    "playlist and film": lambda path: prefixed(path, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n" + b"\n" * 2000),
    "archive and film": lambda path: prefixed(path, b"PK\x03\x04" + bytes(2000)),
}
"""What is wrong with a file, and what makes it at a path."""

# -- something else ----------------------------------------------------------------------------------------------------


def references(path: Path, entry: bytes) -> Path:
    """A film whose tracks say that their samples lie in another file, as `entry` of their data references."""
    return write(path, _with_references(clip(path.with_suffix(".own.mov")).read_bytes(), entry))


def by_url(address: str) -> bytes:
    body = b"url " + bytes(4) + address.encode() + b"\0"
    return struct.pack(">I", len(body) + 4) + body


def by_alias(target: Path) -> bytes:
    """A Macintosh alias record that ends with an absolute path."""
    name, full = target.name.encode()[:63], str(target).encode()
    full += b"\0" * (len(full) % 2)
    body = bytes(10) + b"\x04disk".ljust(28, b"\0") + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0")
    body += bytes(16) + struct.pack(">HH", 0, 0) + bytes(16) + struct.pack(">HH", 2, len(full)) + full
    body += struct.pack(">Hh", 0xFFFF, 0) + bytes(32)
    return struct.pack(">I", len(body) + 12) + b"alis" + bytes(4) + body


def _with_references(data: bytes, entry: bytes) -> bytes:
    """`data`, boxes of an mp4 whose index stands at its end, with each table of data references replaced."""
    out = b""
    while data:
        size, kind = struct.unpack(">I4s", data[:8])
        body, data = data[8:size], data[size:]
        if kind == b"dref":
            body = bytes(4) + struct.pack(">I", 1) + entry
        elif kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
            body = _with_references(body, entry)
        out += struct.pack(">I", len(body) + 8) + kind + body
    return out


def luring(name: str, path: Path, url: str, canary: Path) -> Path:
    """A file of the kind `name` that would make its reader fetch `url` or open `canary`."""
    texts = {
        "hls to http": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{url}\n#EXT-X-ENDLIST\n",
        "hls to file": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{canary}\n#EXT-X-ENDLIST\n",
        "concat list": f"ffconcat version 1.0\nfile '{canary}'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "dash": f'<?xml version="1.0"?><MPD><BaseURL>{url}</BaseURL><Period><AdaptationSet><Representation id="1">'
        "</Representation></AdaptationSet></Period></MPD>",
        "asx": f'<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
        "subtitles": f"1\n00:00:00,000 --> 00:00:01,000\n<img src='{url}'>{{\\fn{canary}}}\n",
    }
    entries = {"reference to http": by_url(url), "reference to file": by_alias(canary)}
    return references(path, entries[name]) if name in entries else write(path, texts[name].encode())


LURES = (
    "hls to http", "hls to file", "concat list", "sdp", "dash", "asx", "subtitles",
    "reference to http", "reference to file",
)  # fmt: skip
