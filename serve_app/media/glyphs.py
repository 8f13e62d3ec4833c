"""Which font has the characters of a text: the one that was wished for, else one that this machine has.

Looked at, in this order: the operator's own folder, DejaVu Sans that comes with the service (Latin, Cyrillic, Greek,
Armenian and more), the wheel of the `cjk` extra, and the folders in which systems keep their fonts. So it works the
same with fontconfig and without. A font is read when a character asks for it: a text in Latin letters reads none but
the first. What all fonts of a machine are called is read once per process, some milliseconds for each.

Chinese and Japanese write many characters alike and draw them differently; where a collection has a face for each, the
one of the language is taken. Emoji in colour are not drawn by libass, and so come out as outlines or not at all.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from fontTools.ttLib import TTCollection, TTFont

BUNDLED = Path(__file__).parent / "fonts"
WHEEL = "noto_cjk_sans_otc"
SYSTEM = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts", "/Library/Fonts")
MOST = 3000
"""Font files of one folder that are looked at."""

_REGIONS = {"zh": ("SC", "CN", "GB", "Hans"), "ja": ("JP", "Japanese", "J")}
_ALL_REGIONS = ("SC", "CN", "GB", "Hans", "TC", "TW", "HK", "JP", "KR", "J", "K")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Face:
    """One face of a font file; `number` is its place in a collection, -1 in a file of its own.

    `line` is the height of a line in that of the letters' square: libass gives the size of the former.
    """

    path: Path
    number: int
    family: str
    regular: bool
    line: float

    @property
    def characters(self) -> frozenset[int]:
        return _characters(self.path, self.number)


@dataclass(frozen=True, slots=True)
class Fonts:
    """The families for a text, the leading one first. `missing` are the characters that no font has."""

    faces: tuple[Face, ...]
    missing: str

    @property
    def main(self) -> Face:
        return self.faces[0]

    def runs(self, text: str) -> Iterator[tuple[Face, str]]:
        """The text in runs of one font each."""
        run, font = "", self.main
        for character in text:
            wanted = self._face(character, font)
            if wanted != font and run:
                yield font, run
                run = ""
            run, font = run + character, wanted
        if run:
            yield font, run

    def _face(self, character: str, otherwise: Face) -> Face:
        """The leading one where that has it; what nobody has, and blanks, stay with their neighbours."""
        if character.isspace():
            return otherwise
        return next((face for face in self.faces if ord(character) in face.characters), otherwise)


def choose(text: str, language: str, wanted: str, folder: Path | None = None) -> Fonts:
    """Fonts for `text` in `language`, `wanted` first if there is such a family; `folder` holds more of them."""
    needed = {ord(character) for character in text if character.isprintable() and not character.isspace()}
    chosen: list[Face] = []
    lacking = set(needed)
    for face in _candidates(language, wanted, folder):
        if chosen and not lacking:
            break
        if not chosen or lacking & face.characters:
            chosen.append(face)
            lacking -= face.characters
    if len(needed & chosen[0].characters) < len(needed) / 2:  # a script that the wished font knows little of
        chosen.sort(key=lambda face: -len(needed & face.characters))
    return Fonts(tuple(chosen), "".join(map(chr, sorted(lacking))))


def files(families: Iterable[str], folder: Path | None = None) -> list[Path]:
    """The files that hold these families."""
    wanted = set(families)
    found = {face.path for face in _own(folder) if face.family in wanted}
    known = {face.family for face in _own(folder)}
    if wanted - known:
        found |= {face.path for face in _systems() if face.family in wanted - known}
    return sorted(found)


def _candidates(language: str, wanted: str, folder: Path | None) -> Iterator[Face]:
    """The wished family, DejaVu, then all others, the most fitting first; read no further than somebody asks."""
    own = _own(folder)
    first = [face for face in own if face.family == wanted]
    if not first:
        first = [face for face in _systems() if face.family == wanted]
    bundled = [face for face in own if face.path.parent == BUNDLED]
    yield from sorted(first, key=lambda face: not face.regular)[:1] or bundled[:1]
    yield from bundled
    yield from sorted(own, key=lambda face: _misfit(face, language))
    yield from sorted(_systems(), key=lambda face: _misfit(face, language))


def _misfit(face: Face, language: str) -> tuple[bool, bool, bool]:
    """Small for a face that was drawn for the language, upright and of usual weight, without serifs."""
    words = face.family.split()
    region = words[-1] in _ALL_REGIONS and words[-1] not in _REGIONS.get(language, ())
    return region, not face.regular, "Serif" in words or "Mono" in words


def _own(folder: Path | None) -> tuple[Face, ...]:
    """Faces that belong to the service: of the operator's folder, of this package, and of the wheel."""
    wheel = find_spec(WHEEL)
    places = [folder, BUNDLED, Path(wheel.origin).parent if wheel and wheel.origin else None]
    return tuple(chain.from_iterable(_faces(place) for place in places if place is not None))


def _systems() -> tuple[Face, ...]:
    return tuple(chain.from_iterable(_faces(Path(place).expanduser()) for place in SYSTEM))


@cache
def _faces(folder: Path) -> tuple[Face, ...]:
    found = (Path(root, name) for root, _, names in os.walk(folder) for name in sorted(names))
    fonts = [path for path in found if path.suffix.lower() in (".ttf", ".otf", ".ttc", ".otc")]
    return tuple(chain.from_iterable(map(_read, fonts[:MOST])))


def _read(path: Path) -> list[Face]:
    """The faces of one file; none of a file that is no font."""
    try:
        with path.open("rb") as file:
            if path.suffix.lower() in (".ttc", ".otc"):
                return [_face(path, number, font) for number, font in enumerate(TTCollection(file, lazy=True).fonts)]
            return [_face(path, -1, TTFont(file, lazy=True))]
    except Exception as error:  # fontTools raises whatever a damaged table leads it to
        log.debug("%s is no font that can be read: %s", path.name, error)
        return []


def _face(path: Path, number: int, font: TTFont) -> Face:
    metrics = font["OS/2"]
    regular = metrics.usWeightClass == 400 and not metrics.fsSelection & 0b1
    line = (metrics.usWinAscent + metrics.usWinDescent) / font["head"].unitsPerEm
    return Face(path, number, font["name"].getBestFamilyName() or path.stem, regular, line)


@cache
def _characters(path: Path, number: int) -> frozenset[int]:
    try:
        with path.open("rb") as file:
            return frozenset(TTFont(file, lazy=True, fontNumber=number).getBestCmap() or ())
    except Exception as error:  # as in _read
        log.debug("the characters of %s cannot be read: %s", path.name, error)
        return frozenset()
