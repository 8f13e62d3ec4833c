"""Subtitles as ASS (Advanced SubStation Alpha): the lines with their look, as a file and as what libass draws.

The script's picture is 288 high and as wide as the film is in proportion, so that one style fits every size. Characters
that the font of the style lacks name another one in the line itself (`glyphs`), because a player that finds no glyph
draws an empty box. ASS counts in hundredths of a second: a cue may be 5 ms off the SRT.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.pipeline import SubtitleStyle
from serve_app.cues import Cue
from serve_app.media import glyphs
from serve_app.media.glyphs import Face, Fonts

HEIGHT = 288
LINE = 1.164  # of DejaVu Sans, by which sizes are given
LINE_SHARE = 12.3  # of the picture's width in its heights: so large may letters be for a line of 42 to fit

_STYLE = (
    "Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, "
    "StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, "
    "Encoding"
)
_EVENT = "Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"
_ALIGNMENT = {"bottom": 2, "middle": 5, "top": 8}


@dataclass(frozen=True, slots=True)
class Look:
    """A style on a picture of `width` × `height` pixels, for text in `language`; `fonts` is a folder of fonts."""

    style: SubtitleStyle
    width: int = 0  # 0: of a film without pictures
    height: int = 0
    language: str = ""
    fonts: Path | None = None

    @property
    def proportion(self) -> float:
        return self.width / self.height if self.width and self.height else 16 / 9

    @property
    def size(self) -> float:
        """Of the letters, in 288ths of the picture's height."""
        return max(4.0, min(HEIGHT * self.style.size / 100, LINE_SHARE * self.proportion))


def ass(cues: Sequence[Cue], look: Look) -> str:
    """The whole file."""
    fonts = glyphs.choose(
        "".join(line for cue in cues for line in cue.lines), look.language, look.style.font, look.fonts
    )
    head = [
        "[Script Info]",
        "ScriptType: v4.00+",
        f"PlayResX: {round(HEIGHT * look.proportion)}",
        f"PlayResY: {HEIGHT}",
        "WrapStyle: 0",
        "ScaledBorderAndShadow: yes",
        "YCbCr Matrix: None",
        "",
        "[V4+ Styles]",
        f"Format: {_STYLE}",
        f"Style: {_style(look, fonts.main)}",
        "",
        "[Events]",
        f"Format: {_EVENT}",
    ]
    return "\n".join([*head, *(_event(cue, fonts, look) for cue in cues), ""])


def _style(look: Look, font: Face) -> str:
    style = look.style
    edge = _colour(style.box_colour, style.box_opacity) if style.box else _colour(style.outline_colour)
    # in a box, the outline is how far it reaches beyond the letters
    border = (3, 0.25 * look.size) if style.box else (1, HEIGHT * style.outline / 100)
    values = ["Default", font.family, f"{_size(look, font):.1f}", _colour(style.colour), _colour(style.colour)]
    values += [edge, edge, str(-1 if style.bold else 0), "0", "0", "0", "100", "100", "0", "0"]
    values += [str(border[0]), f"{border[1]:.2f}", "0", str(_ALIGNMENT[style.position])]
    return ",".join([*values, "8", "8", str(round(HEIGHT * style.margin / 100)), "1"])


def _colour(rgb: str, opacity: float = 1.0) -> str:
    """As ASS writes it: transparency, blue, green, red."""
    red, green, blue = rgb[1:3], rgb[3:5], rgb[5:7]
    return f"&H{round(255 * (1 - opacity)):02X}{blue}{green}{red}".upper()


def _size(look: Look, font: Face) -> float:
    """That of the line, so that letters of all fonts are about as large."""
    return look.size * font.line / LINE


def _event(cue: Cue, fonts: Fonts, look: Look) -> str:
    text = r"\N".join(_line(line, fonts, look) for line in cue.lines)
    return f"Dialogue: 0,{_clock(cue.start)},{_clock(cue.end)},Default,,0,0,0,,{text}"


def _line(line: str, fonts: Fonts, look: Look) -> str:
    runs = [
        _escaped(run)
        if font == fonts.main
        else f"{{\\fn{font.family}\\fs{_size(look, font):.1f}}}{_escaped(run)}{{\\fn\\fs}}"
        for font, run in fonts.runs(line)
    ]
    return "".join(runs)


def _escaped(text: str) -> str:
    """A backslash would begin a code; followed by a word joiner, which nobody sees, it is just itself."""
    return text.replace("\\", "\\\u2060").replace("{", r"\{").replace("}", r"\}")


def _clock(seconds: float) -> str:
    hundredths = round(seconds * 100)
    return f"{hundredths // 360000}:{hundredths // 6000 % 60:02}:{hundredths // 100 % 60:02}.{hundredths % 100:02}"
