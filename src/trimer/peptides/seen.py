"""What a model has learnt from, residue by residue: whether a training peptide held `M[UNIMOD:35]`, or a free `C`."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from trimer.peptides.proforma import Peptide, read_proforma


def sites(peptide: Peptide) -> list[str]:
    """Its residues with what is on them, and its modified ends, in order, each once.

    >>> sites(read_proforma("[UNIMOD:1]-MM[UNIMOD:35]K"))
    ['[UNIMOD:1]-', 'M', 'M[UNIMOD:35]', 'K']
    """
    length = len(peptide.letters)
    marks: dict[int, str] = {}
    for place, one in peptide.modifications:
        marks[place] = marks.get(place, "") + f"[{one.proforma}]"
    found = [f"{marks[0]}-"] if 0 in marks else []
    found += [letter + marks.get(place, "") for place, letter in enumerate(peptide.letters, 1)]
    found += [f"-{marks[length + 1]}"] if length + 1 in marks else []
    return list(dict.fromkeys(found))


def seen_sites(texts: Iterable[str]) -> list[str]:
    """All sites of peptides in ProForma, sorted."""
    found: set[str] = set()
    for text in dict.fromkeys(texts):
        found.update(sites(read_proforma(text)) if "[" in text else text)
    return sorted(found)


def unseen_sites(text: str, seen: Collection[str]) -> str:
    """The sites of a peptide that are not among those seen: `C; K[UNIMOD:121]`, or an empty text."""
    return "; ".join(site for site in sites(read_proforma(text)) if site not in seen)
