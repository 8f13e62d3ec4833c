"""Letters in the picture: which font is taken for them, and that they are drawn and no empty boxes."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from configs.pipeline import SubtitleStyle
from serve_app.cues import Cue
from serve_app.media import ffmpeg, glyphs
from serve_app.media.ass import Look, ass
from serve_app.media.mp4 import lay_out

SIZE = (640, 360)
STYLE = SubtitleStyle()
NOBODYS = "\U00010a10"  # Kharoshthi, in no usual font


def drawn(folder: Path, cues: list[str], language: str = "", style: SubtitleStyle = STYLE) -> list[np.ndarray]:
    """One frame for each text, as the burnt film shows it, white on black; without the help of fontconfig."""
    folder.mkdir(exist_ok=True)
    script = ass([Cue(n, n + 1.0, (text,)) for n, text in enumerate(cues)], Look(style, *SIZE, language))
    (folder / "x.ass").write_text(script, encoding="utf-8")
    captions = lay_out(folder, folder / "x.ass", None)
    assert captions is not None
    command = [
        ffmpeg.binary(),
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        f"color=black:s={SIZE[0]}x{SIZE[1]}:r=1:d={len(cues)}",
    ]
    command += ["-vf", f"ass={captions.name}:fontsdir=fonts", "-pix_fmt", "gray", "-f", "rawvideo", "-"]
    frames = subprocess.run(
        command, check=True, capture_output=True, cwd=folder, env={"FONTCONFIG_FILE": "/dev/null", "HOME": "/nowhere"}
    ).stdout
    return list(np.frombuffer(frames, np.uint8).reshape(len(cues), SIZE[1], SIZE[0]))


def ink(frame: np.ndarray) -> np.ndarray:
    """The letters, cut out of their frame."""
    rows, columns = np.flatnonzero(frame.max(1) > 60), np.flatnonzero(frame.max(0) > 60)
    return frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else frame[:0]


def alike(one: np.ndarray, two: np.ndarray) -> float:
    """The share of their lit pixels that two cut-outs have in common, laid on each other at the corner."""
    shape = np.maximum(one.shape, two.shape)
    a, b = (np.pad(x > 128, [(0, n - m) for n, m in zip(shape, x.shape, strict=True)]) for x in (one, two))
    return float((a & b).sum() / max(1, (a | b).sum()))


@pytest.mark.parametrize(
    ("language", "letters"),
    [("es", "ñáQ¿"), ("ru", "жщЫя"), ("hy", "ԱխՖփ"), ("zh", "们这说电"), ("ja", "あヌ働円")],
    ids=["latin", "cyrillic", "armenian", "chinese", "japanese"],
)
def test_every_script_is_drawn(tmp_path: Path, language: str, letters: str) -> None:
    if glyphs.choose(letters, language, STYLE.font).missing:
        pytest.skip("no font on this machine has these letters; the wheel noto-cjk-sans-otc of the test extra does")
    *shapes, box, blank = map(ink, drawn(tmp_path / "x", [*letters, NOBODYS, "\u00a0"], language))
    assert blank.size == 0
    assert all((shape > 128).sum() > 20 for shape in shapes)
    assert all(alike(shape, box) < 0.6 for shape in shapes)
    assert all(alike(a, b) < 0.8 for n, a in enumerate(shapes) for b in shapes[:n])  # boxes would all be alike


def test_one_line_with_letters_of_three_fonts(tmp_path: Path) -> None:
    if glyphs.choose("说", "zh", STYLE.font).missing:
        pytest.skip("no font on this machine has Chinese letters; the wheel noto-cjk-sans-otc of the test extra does")
    both, latin, chinese = map(ink, drawn(tmp_path / "x", ["Qué 说 Ուր", "Qué", "说"], "es"))
    assert both.shape[1] > latin.shape[1] + chinese.shape[1]
    width = chinese.shape[1] + 2
    assert max(alike(ink(both[:, n : n + width]), chinese) for n in range(both.shape[1] - width)) > 0.6
    family = glyphs.choose("说", "es", STYLE.font).main.family
    assert f"Qué {{\\fn{family}\\fs" in ass([Cue(0, 1, ("Qué 说 Ուր",))], Look(STYLE, *SIZE, "es"))


def test_each_language_has_its_own_face() -> None:
    if glyphs.find_spec(glyphs.WHEEL) is None:
        pytest.skip("the wheel noto-cjk-sans-otc of the test extra is not installed")
    chosen = {language: glyphs.choose("直骨", language, STYLE.font).main.family for language in ("zh", "ja")}
    assert chosen["zh"].split()[-1] != chosen["ja"].split()[-1]
    assert chosen["ja"].endswith("JP") and chosen["zh"].endswith("SC")


def test_the_font_with_most_of_the_letters_leads() -> None:
    assert glyphs.choose("One 说", "en", "DejaVu Sans").main.family == "DejaVu Sans"
    if not glyphs.choose("说", "zh", "DejaVu Sans").missing:
        assert glyphs.choose("我们说 OK", "zh", "DejaVu Sans").main.family != "DejaVu Sans"


def test_what_no_font_has_is_named() -> None:
    fonts = glyphs.choose(f"A{NOBODYS} B", "en", "DejaVu Sans")
    assert fonts.missing == NOBODYS
    assert "".join(text for _, text in fonts.runs(f"A{NOBODYS} B")) == f"A{NOBODYS} B"


def test_a_family_that_is_not_there_gives_way() -> None:
    assert glyphs.choose("Hello", "en", "No Such Font").main.family == "DejaVu Sans"


def test_the_folder_of_the_operator_comes_first_and_rubbish_in_it_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font at all")
    (tmp_path / "broken.ttc").write_bytes(b"no font at all")
    own = tmp_path / "own.ttf"
    own.symlink_to(glyphs.BUNDLED / "DejaVuSans.ttf")
    assert own in [face.path for face in glyphs.choose("A", "en", "DejaVu Sans", tmp_path).faces]
    assert own in glyphs.files(["DejaVu Sans"], tmp_path)


def test_the_style_is_what_is_seen(tmp_path: Path) -> None:
    """Colour, box, size and place, measured in the picture."""
    frames = {
        name: drawn(tmp_path / name, ["Hallo"], "de", STYLE.model_copy(update=change))[0]
        for name, change in {
            "usual": {},
            "small": {"size": 2.8},
            "top": {"position": "top"},
            "middle": {"position": "middle"},
            "raised": {"margin": 30.0},
            "grey": {"colour": "#808080"},
            "box": {"box": True, "box_colour": "#FFFFFF", "box_opacity": 0.25, "colour": "#000000"},
        }.items()
    }
    place = {name: float(np.mean(np.nonzero(frame > 30)[0])) / SIZE[1] for name, frame in frames.items()}
    assert place["usual"] > 0.85 and place["top"] < 0.15 and place["middle"] == pytest.approx(0.5, abs=0.03)
    assert place["raised"] == pytest.approx(place["usual"] - 0.25, abs=0.02)
    assert 2 * ink(frames["small"]).shape[0] == pytest.approx(ink(frames["usual"]).shape[0], abs=3)
    assert frames["usual"].max() > 230 and 115 < frames["grey"].max() < 140
    assert frames["box"].max() == pytest.approx(64, abs=6)
    assert (frames["box"] > 50).sum() > 2 * (frames["usual"] > 50).sum()


def test_upright_pictures_get_smaller_letters() -> None:
    sizes = [Look(STYLE, *sides).size for sides in ((1920, 1080), (1080, 1920), (100, 4000))]
    assert sizes[0] > sizes[1] > sizes[2] == 4.0
    assert Look(STYLE).size == sizes[0]


def test_codes_in_a_text_are_only_text(tmp_path: Path) -> None:
    hostile, plain = drawn(tmp_path / "x", [r"{\pos(0,0)}a\Nb", "plain"])
    script = (tmp_path / "x" / "x.ass").read_text(encoding="utf-8")
    assert "\\{\\\u2060pos(0,0)\\}a\\\u2060Nb" in script
    assert np.nonzero(hostile > 60)[0].min() > SIZE[1] // 2
    assert ink(hostile).shape[0] < 1.8 * ink(plain).shape[0]  # one line
