"""Japanese as it is read: kanji become kana, for a voice that knows kana alone.

Readings are those of janome's dictionary, as pronounced: the particle は comes out as ワ, 東京 as トーキョー. It is
pure Python with its dictionary inside (some 200 MB on disk, 60 MB in memory, 0.7 s to load), so it comes with an extra
and is loaded when the first kanji is met. Kana and other scripts stay as they are; full-width digits become plain ones,
which espeak would pass over, and the dot between the parts of a foreign name a blank, which it would announce.

A dictionary does not weigh what is meant: of a word with several readings it takes the commonest, so a counter after
digits (3月) and a rare name may be misread. A character that it cannot read at all is an error, and never left out.
"""

import functools
import re
import threading
import unicodedata
from typing import Any

from models.errors import ArtifactMissing, StageFailed

INSTALL = "espeak reads Japanese kanji with a dictionary that is not installed; run: pip install 'dubserve[cjk]'"

_KANJI = re.compile(r"[々〆〇ヶ㐀-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_lock = threading.Lock()


def kana(text: str) -> str:
    """`text` with its kanji as katakana.

    Raises ArtifactMissing where there are some and janome is not installed, StageFailed for one without a reading.
    """
    plain = re.sub(r"\w+", lambda word: unicodedata.normalize("NFKC", word[0]), text).replace("・", " ")
    if not _KANJI.search(plain):
        return plain
    with _lock:  # it does not say whether threads may share it, and a sentence takes milliseconds
        read = "".join(map(_read, _dictionary().tokenize(plain)))
    if unread := _KANJI.search(read):
        raise StageFailed("tts", f"espeak cannot read {unread[0]} in Japanese")
    return read


def _read(token: Any) -> str:
    """As it is pronounced, which is * of a word that the dictionary does not have."""
    return str(token.surface if token.phonetic == "*" else token.phonetic)


@functools.cache
def _dictionary() -> Any:
    try:
        from janome.tokenizer import Tokenizer
    except ImportError as error:
        raise ArtifactMissing(INSTALL) from error
    return Tokenizer()
