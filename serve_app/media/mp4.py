"""The command that writes the output mp4: pictures copied or encoded, sound mastered, subtitles burnt, soft or absent.

Pictures are encoded to H.264 8-bit, without tone mapping for HDR. They are copied instead when nothing has to be drawn
and browsers play their codec in mp4; AVI is never copied, because it does not say in which order frames are shown.

File names inside filters need three layers of quoting, which ffmpeg-python does not get right for all of them; so the
command runs in the job's folder, where the subtitles and the fonts have plain names (`lay_out`).
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ffmpeg as graph

from configs.pipeline import MuxSettings, Subtitles
from serve_app.media import ffmpeg, glyphs
from serve_app.media.probe import Source

CAPTIONS, FONTS = "captions", "fonts"  # in the job's folder
COPYABLE = ("h264", "hevc", "av1", "vp9")
PLAIN_PIXELS = ("yuv420p", "yuvj420p")  # the only H.264 that every browser plays

AAC = {"c:a": "aac", "aac_coder": "fast", "aac_ms:a:0": 0}
"""The channels of the dub each for themselves: what two equal ones share is sought for a third of the time.

It costs bytes and distance to the original, which stays below what the coder of highest quality leaves (benchmarks).
"""

_FAMILY = re.compile(r"(?:^Style: [^,]*,|\\fn)([^,\\}\n]+)", re.MULTILINE)
_MP4_LANGUAGES = {
    "en": "eng", "hy": "hye", "ru": "rus", "es": "spa", "fr": "fra", "de": "deu", "it": "ita", "pt": "por",
    "zh": "zho", "ja": "jpn",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to write the output."""

    source: Source
    mix: Path
    audio_filters: str
    captions: Path | None  # burnt or soft, as `mode` says; from `lay_out`
    mode: Subtitles
    copy: bool
    encoder: str
    language: str
    settings: MuxSettings
    cut: bool = False  # only the first `source.duration` seconds of a longer film


def copies(plan: Plan) -> bool:
    return not burns(plan) and copyable(plan.source)


def copyable(source: Source) -> bool:
    if source.video_codec not in COPYABLE or source.container == "avi":
        return False
    return source.video_codec != "h264" or source.pixel_format in PLAIN_PIXELS


def burns(plan: Plan) -> bool:
    return plan.captions is not None and plan.mode == "burn"


def lay_out(work: Path, subtitles: Path | None, fonts: Path | None) -> Path | None:
    """Puts a copy of the subtitles and links to the fonts of an ASS file into `work`; None without a single cue.

    Only the fonts that it names: libass reads all that it is given. `fonts` is a folder with more of them.
    """
    if subtitles is None:
        return None
    text = subtitles.read_text(encoding="utf-8")
    if "-->" not in text and "\nDialogue:" not in text:
        return None  # ffmpeg refuses an empty file
    folder = work / FONTS
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, font in enumerate(glyphs.files(_FAMILY.findall(text), fonts)):
        (folder / f"{number}{font.suffix}").symlink_to(font.resolve())
    captions = work / f"{CAPTIONS}{subtitles.suffix}"
    captions.write_text(text, encoding="utf-8")
    return captions


def command(plan: Plan, out: Path) -> list[str]:
    """ffmpeg's arguments for the second pass, to be run in the folder that `lay_out` prepared."""
    source, language = plan.source, _MP4_LANGUAGES.get(plan.language, "und")
    shift = {"itsoffset": f"{-source.origin:.6f}"}
    film = graph.input(ffmpeg.file_url(source.path), **shift, **ffmpeg.guard(source.container))
    streams = [graph.input(ffmpeg.file_url(plan.mix), **ffmpeg.guard("flac"))["a:0"]]
    options: dict[str, Any] = {"filter:a:0": plan.audio_filters, **AAC, "b:a": plan.settings.audio_bitrate}
    options |= {"metadata:s:a:0": f"language={language}", "disposition:a:0": "default"}
    for number, index in enumerate(source.other_audio if plan.settings.keep_audio and not plan.cut else (), 1):
        streams.append(film[str(index)])
        options |= {f"filter:a:{number}": _in_time(plan), f"disposition:a:{number}": "0"}
    if source.video_index is not None:
        streams.insert(0, film[str(source.video_index)] if plan.copy else _pictures(film, plan))
        options |= _copying(source) if plan.copy else _encoding(plan)
    if plan.captions is not None and plan.mode == "soft":
        streams.append(graph.input(ffmpeg.file_url(plan.captions), **ffmpeg.guard("srt"))["s:0"])
        options |= {"c:s": "mov_text", "metadata:s:s:0": f"language={language}", "disposition:s:0": "default"}
    if plan.cut:
        options["t"] = f"{source.duration:.6f}"
    options |= {"map_chapters": -1, "movflags": "+faststart", "f": "mp4"}
    return [str(part) for part in graph.output(*streams, ffmpeg.file_url(out), **options).get_args()]


def _in_time(plan: Plan) -> str:
    """For a track that is kept: it begins with the film and ends with it."""
    rate = plan.settings.sample_rate
    return f"aresample={rate}:async=1:first_pts=0,apad,atrim=end={plan.source.duration:.6f}"


def _pictures(film: Any, plan: Plan) -> Any:
    """The video stream with what has to be drawn; H.264 wants even sides."""
    source, stream = plan.source, film[str(plan.source.video_index)]
    if source.width % 2 or source.height % 2:
        stream = stream.filter("pad", "ceil(iw/2)*2", "ceil(ih/2)*2")
    if source.duration > source.picture + 2 / source.frame_rate:
        stream = stream.filter("tpad", stop_mode="clone", stop_duration=f"{source.duration - source.picture:.3f}")
    if plan.captions is not None and burns(plan):
        stream = stream.filter("ass", plan.captions.name, fontsdir=FONTS)
    return stream


def _copying(source: Source) -> dict[str, Any]:
    return {"c:v": "copy"} | ({"tag:v": "hvc1"} if source.video_codec == "hevc" else {})


def _encoding(plan: Plan) -> dict[str, Any]:
    quality = {"preset": plan.settings.x264_preset, "crf": plan.settings.crf}
    if plan.encoder == "h264_nvenc":
        quality = {"preset": "p4", "rc": "vbr", "cq": plan.settings.crf + 3, "b:v": 0}
    return {"c:v": plan.encoder, "pix_fmt": "yuv420p", **quality}


def choose_encoder(wanted: str) -> str:
    """`wanted`, or for "auto" NVENC where a frame could be encoded with it: some GPUs with a driver have no encoder."""
    if wanted != "auto":
        return wanted
    return "h264_nvenc" if Path("/dev/nvidiactl").exists() and _nvenc_works() else "libx264"


@cache
def _nvenc_works() -> bool:
    frame = ["-f", "lavfi", "-i", "color=black:s=256x256", "-frames:v", "1", "-c:v", "h264_nvenc", "-f", "null", "-"]
    try:
        ffmpeg.short(frame, timeout_s=30)
    except (OSError, subprocess.SubprocessError):
        return False
    return True
