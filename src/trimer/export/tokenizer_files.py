"""Tokenizer files of `transformers`, which give the same ids as the tokenizer of a trained model.

`tokenizer.json` is that of the `tokenizers` library and is read by `AutoTokenizer`. The tokenizer of ESM-2 also has
`vocab.txt`, which `EsmTokenizer` reads. A tokenizer that `transformers` cannot express, such as that of spectra, gets
only `vocab.json`: token -> id.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from trimer.files import write_text
from trimer.tokenizers.bpe import BytePairTokenizer
from trimer.tokenizers.protein import ProteinTokenizer
from trimer.tokenizers.smiles import SmilesTokenizer

ROLES = {"cls": ("cls_token", "bos_token"), "eos": ("sep_token", "eos_token"), "pad": ("pad_token",)}
ROLES |= {"unk": ("unk_token",), "mask": ("mask_token",)}
CHARACTER = r"[\s\S]"


def write_tokenizer(tokenizer: Any, folder: Path, longest: int | None = None) -> str:
    """Write the files of a tokenizer; returns the text that it expects, or "" without a tokenizer for transformers.

    longest: maximum number of tokens, which `transformers` reads as `model_max_length`.
    """
    tokens = list(tokenizer.vocabulary.tokens)
    backend, expected = backend_of(tokenizer)
    if backend is None:
        write_text(folder / "vocab.json", json.dumps(tokenizer.vocabulary.ids, indent=1, ensure_ascii=False) + "\n")
        return ""
    write_text(folder / "tokenizer.json", backend)
    if isinstance(tokenizer, ProteinTokenizer):
        write_text(folder / "vocab.txt", "\n".join(tokens) + "\n")
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    settings |= {name: tokens[getattr(tokenizer, role)] for role, names in ROLES.items() for name in names}
    if isinstance(tokenizer, BytePairTokenizer):
        settings["add_prefix_space"] = tokenizer.prefix_space
    if longest is not None:
        settings["model_max_length"] = longest
    settings["model_input_names"] = ["input_ids", "attention_mask"]
    write_text(folder / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")
    return expected


def backend_of(tokenizer: Any) -> tuple[str | None, str]:
    """The text of `tokenizer.json` and the input that it expects; (None, "") if it cannot be expressed."""
    if isinstance(tokenizer, BytePairTokenizer):
        return tokenizer.to_json(), "SMILES, as written" if tokenizer.atoms else "text"
    if isinstance(tokenizer, ProteinTokenizer):
        return by_pattern(tokenizer, CHARACTER, upper=tokenizer.lower == "upper"), "amino acid sequences"
    if isinstance(tokenizer, SmilesTokenizer):
        longest_first = sorted(tokenizer.molecule.ids, key=len, reverse=True)
        representation = tokenizer.molecule.representation
        text = "SMILES" if representation == "smiles" else f"{representation} of the canonical molecule"
        stereo = "with" if tokenizer.molecule.stereo else "without"
        return by_pattern(
            tokenizer, "|".join(map(re.escape, longest_first))
        ), f"canonical RDKit {text}, {stereo} stereo"
    return None, ""


def by_pattern(tokenizer: Any, pattern: str, upper: bool = False) -> str:
    """`tokenizer.json` of a tokenizer that cuts a text into the matches of a pattern, one token each."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokens, ids = tokenizer.vocabulary.tokens, tokenizer.vocabulary.ids
    names = {role: tokens[getattr(tokenizer, role)] for role in ROLES}
    backend = Tokenizer(models.WordLevel(ids, names["unk"]))
    if upper:
        letters = [normalizers.Replace(chr(ord("a") + i), chr(ord("A") + i)) for i in range(26)]  # ASCII letters only
        backend.normalizer = normalizers.Sequence(letters)
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    backend.decoder = decoders.Fuse()
    frame = [(names[role], ids[names[role]]) for role in ("cls", "eos")]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{names['cls']} $A {names['eos']}", special_tokens=frame
    )
    backend.add_special_tokens([AddedToken(name, normalized=False) for name in names.values()])
    return backend.to_str(pretty=True)
