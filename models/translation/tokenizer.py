"""Marian's tokenizer: a SentencePiece model for each side, and one table from pieces to ids.

Written against sentencepiece itself, so that serving needs no transformers. It differs from theirs on purpose in one
point: special tokens that appear in the text ("</s>") are text, and cannot steer the decoder.
"""

import json
from pathlib import Path

from sentencepiece import SentencePieceProcessor

END, UNKNOWN, PAD = "</s>", "<unk>", "<pad>"


class Tokenizer:
    """`folder` holds source.spm, target.spm and vocab.json; target_vocab.json too where the sides differ.

    `size` is that of the target side's vocabulary.
    """

    def __init__(self, folder: Path) -> None:
        self._source = SentencePieceProcessor(model_file=str(folder / "source.spm"))
        self._target = SentencePieceProcessor(model_file=str(folder / "target.spm"))
        self._ids: dict[str, int] = json.loads((folder / "vocab.json").read_text("utf-8"))
        separate = folder / "target_vocab.json"
        self._target_ids = json.loads(separate.read_text("utf-8")) if separate.is_file() else self._ids
        self._pieces: dict[int, str] = {i: piece for piece, i in self._target_ids.items()}
        self._specials = {END, UNKNOWN, PAD}
        self.end, self.unknown = self._ids[END], self._ids[UNKNOWN]
        self.size = len(self._target_ids)

    def knows(self, prefix: str) -> bool:
        """Whether the vocabulary has this target prefix, such as `>>por<<`; the empty one it always has."""
        return not prefix or prefix in self._ids

    def sayable(self) -> list[int]:
        """Ids that a translation may hold: the special ones, and the pieces of the target side's SentencePiece model.

        Models of two languages with one table of both have learned to say no others. All ids, if those pieces are not
        even half of what they should be: then the table was not made from them.
        """
        pieces = {self._target.id_to_piece(i) for i in range(self._target.get_piece_size())} | self._specials
        known = sorted(i for piece, i in self._target_ids.items() if piece in pieces)
        return known if 2 * len(known) > len(pieces) else sorted(self._target_ids.values())

    def encode(self, text: str, prefix: str = "") -> list[int]:
        """Ids of `prefix` (if any), the text's pieces, and the end. Pieces that are not in the table become unknown."""
        pieces = self._source.encode(text, out_type=str)
        known = (self._ids.get(piece, self.unknown) for piece in ([prefix] if prefix else []) + pieces)
        return [*known, self.end]

    def spellings(self, words: str) -> list[tuple[int, ...]]:
        """Target ids of `words` at the start of a word, as given and with a capital; none if a piece is unknown."""
        forms = dict.fromkeys((words, words[:1].upper() + words[1:]))
        cut = (self._target.encode(form, out_type=str) for form in forms)
        rows = (tuple(self._target_ids.get(piece, self.unknown) for piece in pieces) for pieces in cut)
        return [row for row in rows if row and self.unknown not in row]

    def decode(self, ids: list[int]) -> str:
        """The text of target ids; end, unknown, padding and `>>xxx<<` are left out."""
        pieces = [self._pieces.get(i, UNKNOWN) for i in ids]
        text: str = self._target.decode_pieces([piece for piece in pieces if not self._silent(piece)])
        return text.replace("▁", " ").strip()

    def _silent(self, piece: str) -> bool:
        return piece in self._specials or (piece.startswith(">>") and piece.endswith("<<"))
