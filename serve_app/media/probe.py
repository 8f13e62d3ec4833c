"""What a media file holds, read once and then known to every room.

`probe` reads headers and packets; after the limits were checked it decodes a single frame, which alone knows of a
rotation. Only the demuxers on the list may look at the file. The duration is measured by demuxing the last seconds,
because headers lie (a recording that was cut off keeps the header of the whole) or are silent (live WebM); only a file
that cannot be entered near its end is demuxed whole.

Time 0 is the first video frame, wherever the container counts from. The duration is that of the video; sound that goes
on for more than a second after the last frame (a lecture over one still picture) makes it longer, for words must not be
lost. It does not know the true rate of a video of variable rate: `frame_rate` is the average.

`python -m serve_app.media.probe` does it for `look`, in a process of its own. How soon that begins is what a caller
waits for who sends a film, so this module imports nothing that it can do without.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import av
import av.error
from av.stream import Disposition

from models.errors import UnreadableMedia
from serve_app.media import limits

if TYPE_CHECKING:
    from configs.pipeline import PrepareSettings

TAIL_S = 20.0  # the end of a file that is demuxed to find its last packet
OVERHANG_S = 1.0  # sound that goes on for longer than this after the last frame belongs to the programme

_ALIASES = {
    "hy": ("hye", "arm"), "en": ("eng",), "ru": ("rus",), "es": ("spa",), "fr": ("fra", "fre"), "de": ("deu", "ger"),
    "it": ("ita",), "pt": ("por",), "zh": ("zho", "chi", "cmn", "yue"), "ja": ("jpn",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """The input as probed. Times in seconds; `duration` is measured from packets, not believed from the header."""

    path: str
    size: int  # bytes
    duration: float
    container: str  # libavformat's demuxer name
    video_index: int | None  # stream index in the file; None: an audio-only file. Attached pictures do not count
    video_codec: str | None
    width: int  # as displayed, after rotation; 0 without video
    height: int
    frame_rate: float  # frames per second; 0.0 without video
    audio_index: int  # stream index of the chosen track
    audio_codec: str
    audio_start: float  # where the track's first sample lies, counted from the start of the video
    audio_tracks: int
    origin: float = 0.0  # video time 0, counted from the start of the file (which is where ffmpeg counts from)
    pixel_format: str = ""
    audio_language: str = ""  # as tagged, ISO-639-1 where known
    audio_rate: int = 0  # Hz
    picture: float = 0.0  # how long the pictures last; less than `duration` when sound goes on after them
    audio_number: int = 1  # of the chosen track among the audio tracks, counted from 1
    other_audio: tuple[int, ...] = ()  # stream indices of those that were not chosen


def probe(path: str | Path, settings: "PrepareSettings", language: str = "") -> Source:
    """Look into the file; `language` (ISO-639-1 or empty) chooses among several audio tracks. Blocks on the disk.

    Raises UnreadableMedia with the reason, and never an error of libav.
    """
    path = Path(path)
    size = _size(path, settings)
    with _opened(path, settings.containers, settings.max_streams) as container:
        _check_limits(container, settings)
        video = next((s for s in container.streams.video if not _is_picture(s)), None)
        audio = _choose(list(container.streams.audio), language, settings.audio_track)
        _check_streams(video, audio, settings)
        width, height = _displayed(container, video)
        origin, picture, heard = _extent(path, container, video, audio)
        duration = (picture if video and heard <= picture + OVERHANG_S else heard) - origin
        if not 0 < duration <= settings.max_duration_s:
            raise _wrong_duration(duration, settings)
        return Source(
            path=str(path),
            size=size,
            duration=duration,
            container=container.format.name,
            video_index=video.index if video else None,
            video_codec=video.codec_context.codec.canonical_name if video else None,
            width=width,
            height=height,
            frame_rate=_frame_rate(video),
            audio_index=audio.index,
            audio_codec=audio.codec_context.codec.canonical_name,
            audio_start=_start(audio, origin) - origin,
            audio_tracks=len(container.streams.audio),
            origin=origin - (container.start_time or 0) / av.time_base,
            pixel_format=(video.codec_context.pix_fmt or "") if video else "",
            audio_language=_language(audio),
            audio_rate=audio.codec_context.sample_rate,
            picture=picture - origin,
            audio_number=list(container.streams.audio).index(audio) + 1,
            other_audio=tuple(s.index for s in _playable(container.streams.audio) if s.index != audio.index),
        )


def _size(path: Path, settings: "PrepareSettings") -> int:
    try:
        size = path.stat().st_size
    except OSError:
        raise UnreadableMedia("the file cannot be read; check that it exists and may be opened") from None
    if not path.is_file():
        raise UnreadableMedia("this is not a file; name one video file")
    if size == 0:
        raise UnreadableMedia("the file is empty; upload it again")
    if size > settings.max_bytes:
        raise UnreadableMedia(
            f"the file has {size / 1e9:.1f} GB and at most {settings.max_bytes / 1e9:.1f} GB are accepted; split it"
        )
    return size


@contextmanager
def _opened(path: Path, formats: Iterable[str], streams: int) -> Iterator[Any]:
    """A container opened by one of the demuxers `formats`; any error of libav that leaves the block becomes ours.

    libav looks into every stream of a file, and a thousand take it seconds: it stops at twice as many as are accepted.
    """
    guard = {"protocol_whitelist": "file", "format_whitelist": ",".join(formats), "max_streams": str(2 * streams)}
    try:
        with av.open(f"file:{path.absolute()}", options=guard, metadata_errors="replace") as container:
            yield container
    except PermissionError:
        raise UnreadableMedia("the file may not be read by this service; change its permissions") from None
    except av.error.MemoryError:  # what libav says in either case
        raise UnreadableMedia(
            f"the file has far more than the {streams} streams that are accepted, or needs too much memory; "
            "keep its video and one audio track, and try again"
        ) from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UnreadableMedia(
            "the file is damaged or no media file of an accepted type; use mp4, mov, mkv, webm, avi, wmv or flv"
        ) from error


def _check_limits(container: Any, settings: "PrepareSettings") -> None:
    if len(container.streams) > settings.max_streams:
        raise UnreadableMedia(
            f"the file has {len(container.streams)} streams and at most {settings.max_streams} are accepted"
        )
    if container.duration and container.duration / av.time_base > settings.max_duration_s:
        raise _wrong_duration(container.duration / av.time_base, settings)


def _check_streams(video: Any, audio: Any, settings: "PrepareSettings") -> None:
    if audio is None:
        raise UnreadableMedia("the file has no audio track, so there is nothing to translate")
    if audio.codec_context.sample_rate <= 0:
        raise UnreadableMedia("the audio track is damaged or in an unknown format; convert it to AAC and try again")
    if video is not None and video.codec_context.width * video.codec_context.height > settings.max_pixels:
        raise UnreadableMedia(
            f"a picture of {video.codec_context.width} × {video.codec_context.height} is too large; scale it down"
        )


def _wrong_duration(duration: float, settings: "PrepareSettings") -> UnreadableMedia:
    if duration > settings.max_duration_s:
        hours, most = duration / 3600, settings.max_duration_s / 3600
        return UnreadableMedia(f"the video lasts {hours:.1f} hours and at most {most:g} are accepted; split it")
    return UnreadableMedia("the file holds no sound or pictures that can be played; upload it again")


def _is_picture(stream: Any) -> bool:
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _choose(tracks: list[Any], language: str, number: int) -> Any:
    """Track `number`, counted from 1, or for 0 the one in `language`, else the default one, else the first.

    None without any that has a decoder. Raises UnreadableMedia when there are not so many.
    """
    playable = _playable(tracks)
    if number:
        if number > len(tracks) or tracks[number - 1] not in playable:
            raise UnreadableMedia(
                f"audio track {number} was asked for and the file has {len(tracks)}; choose one of these"
            )
        return tracks[number - 1]
    spoken = [t for t in playable if language and _language(t) == language]
    default = [t for t in spoken or playable if t.disposition & Disposition.default]
    return next(iter(default or spoken or playable), None)


def _playable(tracks: Iterable[Any]) -> list[Any]:
    return [track for track in tracks if track.codec_context is not None]


def _language(stream: Any) -> str:
    tag = (stream.metadata.get("language") or "").lower().split("-")[0]
    return next((two for two, threes in _ALIASES.items() if tag == two or tag in threes), "" if tag == "und" else tag)


def _displayed(container: Any, video: Any) -> tuple[int, int]:
    """Width and height in pixels after the rotation that the first frame asks for; 0, 0 without video."""
    if video is None:
        return 0, 0
    width, height = video.codec_context.width, video.codec_context.height
    try:
        turned = next((frame.rotation for frame in container.decode(video)), 0) % 180 != 0
    except av.error.FFmpegError:
        turned = False  # a damaged first frame; mux will drop it
    return (height, width) if turned else (width, height)


def _frame_rate(video: Any) -> float:
    rates = [r for r in (video.average_rate, video.guessed_rate, video.base_rate) if r] if video else []
    return float(next((r for r in rates if 0 < r <= 1000), 25)) if video else 0.0


# -- time --------------------------------------------------------------------------------------------------------------


def _start(stream: Any, otherwise: float) -> float:
    return otherwise if stream.start_time is None else float(stream.start_time * stream.time_base)


def _extent(path: Path, container: Any, video: Any, audio: Any) -> tuple[float, float, float]:
    """Container times of video time 0, of the end of the pictures, and of the end of the sound."""
    first = video or audio
    origin = _start(first, (container.start_time or 0) / av.time_base)
    ends = _ends(path, container, first, {s.index for s in (video, audio) if s is not None}, origin)
    picture = ends.get(video.index, origin) if video else origin
    return origin, picture, ends.get(audio.index, origin)


def _ends(path: Path, container: Any, first: Any, wanted: set[int], origin: float) -> dict[int, float]:
    """Where the last packet of each stream ends: from the tail of the file if `first` is in it, else from all of it."""
    length = (container.duration or 0) / av.time_base
    if length > 2 * TAIL_S:
        try:
            container.seek(int((origin + length - TAIL_S) * av.time_base))
            ends = _demux(container, wanted)
        except av.error.FFmpegError:
            ends = {}
        if first.index in ends:
            return ends
    with _opened(path, container.format.name.split(","), len(container.streams)) as again:
        return _demux(again, wanted)


def _demux(container: Any, wanted: set[int]) -> dict[int, float]:
    """The latest end of a packet per stream, in seconds of the container; a damaged end counts up to the damage."""
    ends: dict[int, float] = {}
    lengths: dict[int, float] = {}
    try:
        for packet in container.demux([container.streams[i] for i in sorted(wanted)]):
            time = packet.pts if packet.pts is not None else packet.dts
            if time is None or not packet.size:
                continue
            index, start = packet.stream.index, float(time * packet.time_base)
            length = float((packet.duration or 0) * packet.time_base) or lengths.get(index) or _usual(packet.stream)
            lengths[index] = length
            ends[index] = max(ends.get(index, start), start + length)
    except av.error.FFmpegError:
        return ends
    return ends


def _usual(stream: Any) -> float:
    """How long a packet without a duration lasts, roughly: one frame of the video, nothing of the sound."""
    return 1 / _frame_rate(stream) if stream.type == "video" else 0.0


def main(path: str, settings: str, language: str = "") -> None:
    """`probe` for another process, under limits that it sets itself before it opens anything.

    All of PrepareSettings as JSON go in, the source or why there is none comes out as JSON.
    """
    answer: dict[str, Any]
    asked = cast("PrepareSettings", SimpleNamespace(**json.loads(settings)))  # who sent them has validated them
    limits.reading(asked.look_s).apply()
    try:
        answer = {"source": asdict(probe(path, asked, language))}
    except UnreadableMedia as error:
        answer = {"unreadable": str(error)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
