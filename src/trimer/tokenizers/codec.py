"""Molecules as text: SMILES, deepSMILES or SELFIES, always of the canonical form.

deepSMILES (O'Boyle and Dalke 2018, the `deepsmiles` package) writes a ring by its size and a branch by its end only;
SELFIES (Krenn et al. 2020, the `selfies` package) is a language in which every text is a molecule.
deepSMILES is safe only behind canonicalisation: of raw SMILES it silently turns one in forty into another molecule.
"""

from __future__ import annotations

import re
import sys
from functools import cached_property

from trimer.errors import ConfigError

REPRESENTATIONS = ("smiles", "deepsmiles", "selfies")

# RDKit would read "C C" as methane with a name and stop at a null byte: only what a SMILES can hold is let through.
_WRITABLE = re.compile(r"[A-Za-z0-9()\[\]=#$:/\\\-+.@%*~<>]+")
MAX_CHARACTERS = 5_000  # of SMILES; longer texts are not small molecules, and the parsers would be too slow
_MAX_TEXT = 8 * MAX_CHARACTERS  # SELFIES takes up to eight characters for one of SMILES
_LONG = 500  # characters; from here on a text is read back before it is trusted


class MoleculeCodec:
    """Writes a molecule in one representation and reads it back as canonical SMILES.

    representation: "smiles", "deepsmiles" or "selfies".
    stereo: keep stereochemistry and isotopes; both are dropped otherwise, as a mass spectrum does not show them.
    """

    def __init__(self, representation: str = "deepsmiles", stereo: bool = False):
        if representation not in REPRESENTATIONS:
            raise ConfigError(
                f"representation={representation!r} is not known: choose one of {', '.join(REPRESENTATIONS)}."
            )
        self.representation = representation
        self.stereo = stereo

    @cached_property
    def _deepsmiles(self):
        import deepsmiles

        return deepsmiles.Converter(rings=True, branches=True)

    def _decode_deepsmiles(self, text: str) -> str:
        limit = sys.getrecursionlimit()
        if len(text) < _LONG:
            return self._deepsmiles.decode(text)
        try:  # the package goes one call deeper for every atom of a chain
            sys.setrecursionlimit(limit + 2 * len(text))
            return self._deepsmiles.decode(text)
        finally:
            sys.setrecursionlimit(limit)

    def canonical(self, smiles: str) -> str | None:
        """Canonical SMILES, or None for text that is not a molecule."""
        from trimer.chemistry.identifiers import canonical_smiles

        if not isinstance(smiles, str) or len(smiles) > MAX_CHARACTERS or not _WRITABLE.fullmatch(smiles):
            return None
        try:
            return canonical_smiles(smiles, self.stereo)
        except Exception:  # RDKit can parse a molecule that it cannot write
            return None

    def encode(self, smiles: str) -> str | None:
        """The text of a molecule, or None where the SMILES cannot be read or the representation cannot say it."""
        canonical = self.canonical(smiles)
        if canonical is None or self.representation == "smiles":
            return canonical
        try:
            if self.representation == "deepsmiles":
                text = self._deepsmiles.encode(canonical)
            else:
                import selfies

                text = selfies.encoder(canonical)
        except Exception:  # both packages raise many kinds; SELFIES rejects about 1 molecule in 800
            return None
        # deepSMILES cannot count more than 99 rings; no other way to lose a molecule is known.
        return text if len(canonical) < _LONG or self.decode(text) == canonical else None

    def decode(self, text: str) -> str | None:
        """Canonical SMILES of a text, or None for any text that is not a molecule; never raises."""
        if not isinstance(text, str) or len(text) > _MAX_TEXT or not _WRITABLE.fullmatch(text):
            return None
        try:
            if self.representation == "deepsmiles":
                text = self._decode_deepsmiles(text)
            elif self.representation == "selfies":
                import selfies

                text = selfies.decoder(text)
        except Exception:  # deepsmiles raises IndexError and others besides its own DecodeError
            return None
        return self.canonical(text)
