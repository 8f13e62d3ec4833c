"""Short films that no other film is like, and what makes two dubs of one the same.

A film is a moving test picture with tones that come and go, each film at its own pitch. Dubs are compared by what a
viewer gets: a hash of every decoded picture and of the decoded sound, both subtitle files, and the words of the report.
"""

import json
import subprocess
from pathlib import Path

import imageio_ffmpeg

from serve_app.jobs.workspace import Artifacts, digest

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def film(path: Path, number: int, seconds: float) -> Path:
    """Three seconds of sound, one of silence, and so on."""
    sound = f"aevalsrc=exprs='0.3*sin(2*PI*{300 + 10 * number}*t)*lt(mod(t,4),3)':s=16000:d={seconds}"
    picture = f"testsrc2=size=160x90:rate=25:duration={seconds}"
    command = [FFMPEG, "-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    subprocess.run([*command, "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", str(path)], check=True)
    return path


def fingerprint(files: Artifacts) -> str:
    """Equal for equal dubs. Raises OSError where a file is missing."""
    decode = [FFMPEG, "-v", "error", "-i", str(files.output), "-map", "0:v", "-map", "0:a", "-f", "streamhash", "-"]
    streams = subprocess.run(decode, check=True, capture_output=True).stdout.decode()
    texts = [path.read_text("utf-8") for path in (files.original_srt, files.translated_srt)]
    rows = json.loads(files.report.read_text("utf-8"))["segments"]
    return digest([streams, texts, [(row["id"], row["text"], row["translation"], row["place"]) for row in rows]])
