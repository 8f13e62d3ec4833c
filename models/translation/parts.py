"""A text in parts that go to the engine and come back: three ways to cut it, from the gentlest to the safest.

First whole sentences, with a stand-in for what no model can say: addresses, words in a foreign script. Then the same
sentences with stand-ins for terms and numbers too. Last, clauses, with whatever must be kept cut out of them: nothing
can be lost that way, but the parts no longer know of each other. Each later way is for text that failed a check.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from models.translation.form import Peeled, peel, quiet, shaped
from models.translation.kept import STAND_INS, Glossary, Kept, Masked, addresses, everything, figures, mask
from models.translation.sentences import around, clauses, sentences


@dataclass(frozen=True, slots=True)
class Part:
    """`text` is what it says in the original, `asked` what the engine is asked; `loud`: in capitals."""

    text: str
    peeled: Peeled
    masked: Masked
    source: str
    loud: bool = False

    @property
    def asked(self) -> str:
        return quiet(self.masked.text, self.source) if self.loud else self.masked.text

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to translate: an address, a term, a number, punctuation."""
        return not any(sign.isalpha() for sign in self.masked.text)

    def answer(self, said: str, target: str) -> str:
        """What the engine `said`, in the form of the original and with everything in its place."""
        shape = shaped(self.asked, said, self.source, target)
        return self.peeled.wrap(self.masked.fill(shape.upper() if self.loud else shape))

    def whole(self, said: str) -> bool:
        return self.masked.whole(said)


def gentle(text: str, source: str, glossary: Glossary, loud: bool) -> list[Part]:  # noqa: ARG001
    """Sentences; addresses are held by stand-ins."""
    return [_part(one, source, addresses(peel(one).core, source), 0, loud) for one in sentences(text, source)]


def firm(text: str, source: str, glossary: Glossary, loud: bool) -> list[Part]:
    """Sentences; addresses, terms and numbers are held by stand-ins."""
    return [
        _part(one, source, everything(peel(one).core, source, glossary), 1, loud) for one in sentences(text, source)
    ]


def small(text: str, source: str, glossary: Glossary, loud: bool) -> list[Part]:
    """Clauses around addresses and terms, which are parts of their own; numbers are held by stand-ins."""
    parts: list[Part] = []
    for sentence in sentences(text, source):
        kept = everything(sentence, source, glossary, numbers=False)
        for piece, said in around(sentence, [(one.start, one.end, one.said) for one in kept]):
            if said is not None:
                parts.append(_part(piece, source, [Kept(0, len(piece), said)], 0, loud))
            else:
                parts += [_part(c, source, figures(peel(c).core), 0, loud) for c in clauses(piece, source)]
    return parts


WAYS = (gentle, firm, small)


def _part(text: str, source: str, kept: Sequence[Kept], pool: int, loud: bool) -> Part:
    whole = len(kept) == 1 and (kept[0].start, kept[0].end) == (0, len(text))
    peeled = Peeled("", text, "") if whole else peel(text)
    return Part(text, peeled, mask(peeled.core, kept, STAND_INS[pool]), source, loud)
