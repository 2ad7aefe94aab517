"""The residues and modifications in the training peptides of a model, such as `M[UNIMOD:35]` or an unmodified `C`."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from trimer.peptides.proforma import Peptide, read_proforma


def sites(peptide: Peptide) -> list[str]:
    """The distinct residues of a peptide with their modifications, and its modified ends, in order.

    >>> sites(read_proforma("[UNIMOD:1]-MM[UNIMOD:35]K"))
    ['[UNIMOD:1]-', 'M', 'M[UNIMOD:35]', 'K']
    """
    length = len(peptide.letters)
    marks: dict[int, str] = {}
    for position, modification in peptide.modifications:
        marks[position] = marks.get(position, "") + f"[{modification.proforma}]"
    residues = [f"{marks[0]}-"] if 0 in marks else []
    residues += [letter + marks.get(position, "") for position, letter in enumerate(peptide.letters, 1)]
    residues += [f"-{marks[length + 1]}"] if length + 1 in marks else []
    return list(dict.fromkeys(residues))


def seen_sites(texts: Iterable[str]) -> list[str]:
    """All sites of peptides in ProForma, sorted."""
    distinct: set[str] = set()
    for text in dict.fromkeys(texts):
        distinct.update(sites(read_proforma(text)) if "[" in text else text)
    return sorted(distinct)


def unseen_sites(text: str, seen: Collection[str]) -> str:
    """The sites of a peptide that are not in `seen`, such as `C; K[UNIMOD:121]`; empty if all are."""
    return "; ".join(site for site in sites(read_proforma(text)) if site not in seen)
