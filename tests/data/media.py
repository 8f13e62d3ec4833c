"""Small odd inputs, made with ffmpeg when a test asks for them: a second or two of test picture and tones."""

import subprocess
from pathlib import Path

from serve_app.media import ffmpeg

PICTURE = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=25:duration={}")
TONE = ("-f", "lavfi", "-i", "sine=frequency={}:duration={}:sample_rate=44100")
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")

CODECS = {
    "mp4": (*X264, "-c:a", "aac"),
    "mov": (*X264, "-c:a", "pcm_s16le"),
    "mkv": (*X264, "-c:a", "flac"),
    "webm": ("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libvorbis"),
    "avi": ("-c:v", "mpeg4", "-c:a", "libmp3lame"),
    "wmv": ("-c:v", "wmv2", "-c:a", "wmav2"),
    "flv": ("-c:v", "flv", "-c:a", "libmp3lame"),
}
"""What is typically inside a file with this suffix."""


def make(path: Path, *args: str) -> Path:
    """Runs ffmpeg with `args` and the output `path`."""
    command = [ffmpeg.binary(), "-v", "error", "-nostdin", "-y", *args, ffmpeg.file_url(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def picture(seconds: float = 2.0) -> tuple[str, ...]:
    return tuple(part.format(seconds) for part in PICTURE)


def tone(seconds: float = 2.0, hertz: int = 440) -> tuple[str, ...]:
    return (*TONE[:3], TONE[3].format(hertz, seconds))


def clip(path: Path, seconds: float = 2.0, hertz: int = 440, options: tuple[str, ...] = ()) -> Path:
    """Picture and tone in what the suffix of `path` stands for."""
    return make(path, *picture(seconds), *tone(seconds, hertz), *CODECS[path.suffix[1:]], *options)


def two_tracks(path: Path, languages: tuple[str, str] = ("eng", "spa"), default: int = 0) -> Path:
    """A 440 Hz and an 880 Hz track, tagged; the one numbered `default` has the disposition."""
    tags = [part for n, code in enumerate(languages) for part in (f"-metadata:s:a:{n}", f"language={code}")]
    marks = [part for n in (0, 1) for part in (f"-disposition:a:{n}", "default" if n == default else "0")]
    maps = ("-map", "0", "-map", "1", "-map", "2")
    return make(path, *picture(), *tone(hertz=440), *tone(hertz=880), *maps, *X264, "-c:a", "aac", *tags, *marks)


def late_sound(path: Path, offset: float = 1.0) -> Path:
    """Three seconds of picture; one second of tone that begins at `offset`."""
    sound = ("-itsoffset", str(offset), *tone(1.0))
    return make(path, *picture(3.0), *sound, *X264, "-c:a", "pcm_s16le" if path.suffix == ".mkv" else "aac")


def late_picture(path: Path) -> Path:
    """Sound from 0 to 3 s, silent in its first second; picture from 1 to 3 s."""
    sound = ("-f", "lavfi", "-i", "aevalsrc=if(gte(t\\,1.5)\\,0.3*sin(2*PI*440*t)\\,0):d=3:s=48000")
    return make(path, "-itsoffset", "1", *picture(2.0), *sound, *X264, "-c:a", "pcm_s16le", "-copyts")


def without_duration(path: Path) -> Path:
    """A live recording: Matroska written to a pipe, so that its header knows no duration."""
    command = [ffmpeg.binary(), "-v", "error", "-nostdin", *picture(), *tone(), *X264, "-c:a", "libvorbis"]
    path.write_bytes(subprocess.run([*command, "-f", "matroska", "-"], check=True, capture_output=True).stdout)
    return path


def damaged_sound(path: Path, share: float) -> Path:
    """MP3 in Matroska in which `share` of the audio packets are noise; the picture is whole."""
    noise = f"noise=amount='if(lt(mod(n\\,10)\\,{10 * share:g})\\,1\\,0)'"
    made = clip(path.with_suffix(".whole.mp4"), 4.0)
    return make(path, "-i", ffmpeg.file_url(made), "-map", "0", "-c", "copy", "-bsf:a", noise)
