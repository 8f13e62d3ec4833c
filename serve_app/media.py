"""What a media file holds, read once and then known to every room."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """The input as probed. Times in seconds; `duration` is measured from packets when the header has none."""

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
