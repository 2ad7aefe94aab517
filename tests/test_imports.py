"""Which package may import which: the layers, and every exception by name.

Imports are read from the source, those inside functions too; those for type checkers alone do not count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import trimer

ROOT = Path(trimer.__file__).parent
BASE = {"counts", "errors", "suggestions"}  # what error messages need: every package may import them

# Package: the packages it may import, in addition to itself and BASE. The order is that of the layers, lowest first.
LAYERS: dict[str, set[str]] = {
    "chemistry": set(),
    "peptides": set(),
    "transfer": set(),
    "flat": {"transfer"},
    "arguments": set(),
    "protocols": set(),
    "targets": {"metrics"},
    "data.core": {"flat", "locks", "transfer"},
    "data.text": {"data.core"},
    "data.spectra": {"data.core", "data.text", "chemistry"},
    "tokenizers": {"chemistry"},
    "data.proteins": {"data.core", "data.text", "tokenizers"},
    "data.molecules": {"data.core", "data.text", "chemistry"},
    "data.peptides": {"data.core", "data.text", "data.spectra", "peptides", "flat"},
    "data.labelled": {
        "data.core", "data.text", "data.proteins", "data.molecules", "data.peptides", "chemistry", "peptides", "flat",
        "targets",
    },
    "data.modules": {
        "data.core", "data.text", "data.spectra", "data.proteins", "data.molecules", "data.peptides", "data.labelled",
        "peptides", "flat", "tokenizers", "arguments",
    },
    "models": {"flat", "peptides", "tokenizers", "arguments", "protocols", "targets"},
    "generation": {"chemistry", "flat", "metrics", "models"},
    "simulate": {
        "chemistry", "data.core", "data.spectra", "data.proteins", "data.molecules", "data.peptides", "peptides",
        "tokenizers",
    },
}  # fmt: skip

# Module -> what it imports in addition to its layer, with the reason.
EXCEPTIONS: dict[str, set[str]] = {
    "data.text.content": {"files"},  # stored digests are written atomically
    "data.core.masking": {"tokenizers.alphabet"},  # the type of an argument
    "data.core.parallel": {"accelerators.cpu_speed"},  # how many cores a process may use
    "data.core.loaders": {"signals"},  # workers end with the process that started them
    "data.core.store": {"progress"},  # preparing takes long
    "models.cpu_attention": {"accelerators.cpu_speed"},  # which kernel is faster on this CPU
    "generation.molecule_generator": {"progress"},  # generating takes long
    # Checkpoints hold the keys of training data, and the keys of proteins come from their tokens.
    "data.core.training_keys": {"checkpoint", "public", "tokenizers.protein", "training_facts"},
    "data.labelled.molecule_features": {"metrics.molecule_properties"},  # radius and length of Morgan fingerprints
    "data.modules.spectrum_pairs": {"training_facts"},  # names of adducts, as stored in checkpoints
    "data.spectra.spectrum_table": {"results.html_tables", "results.plots"},  # how a notebook shows and plots a table
    "data.spectra.spectrum_record": {"results.plots"},  # as those of a table
    # Tokenizers encode whole tables: the types of their arguments.
    "tokenizers.bpe": {"data.core.ragged"},
    "tokenizers.protein": {"data.core.ragged"},
    "tokenizers.joint": {"data.spectra.spectrum_table"},
    "tokenizers.spectrum": {"data.spectra.spectrum_table"},
}

# Package -> libraries it must not load, directly or through its top-level imports.
FOREIGN: dict[str, set[str]] = {
    "chemistry": {"torch", "lightning", "hydra", "omegaconf"},
    "peptides": {"torch", "lightning", "hydra", "omegaconf", "rdkit"},
    "data.text": {"torch", "lightning", "hydra", "omegaconf", "rdkit"},
    "data.spectra.readers": {"torch", "lightning", "hydra"},
    "tokenizers": {"torch", "lightning", "hydra", "omegaconf"},
    "models": {"lightning", "hydra", "omegaconf", "rdkit"},
    "generation": {"lightning", "hydra", "omegaconf"},
    "metrics": {"lightning", "hydra", "omegaconf"},
}

# Package -> packages it never imports, directly or indirectly, not even inside functions.
NEVER: dict[str, set[str]] = {
    "data": {"reporting", "commands", "cli", "tasks", "models", "callbacks", "evaluation", "prediction"},
    "models": {"reporting", "commands", "cli", "tasks", "callbacks", "data", "evaluation", "prediction"},
    "tokenizers": {"models", "tasks", "commands", "cli", "data.modules", "data.labelled"},
    "data.spectra.readers": {"data.spectra.spectrum_sources", "data.spectra.cleaning", "data.modules"},
    "data.text": {"data.spectra", "data.molecules", "data.proteins", "data.peptides", "data.labelled", "data.modules"},
}


def is_in(module: str, part: str) -> bool:
    return module == part or module.startswith(f"{part}.")


@cache
def modules() -> dict[str, Path]:
    """Dotted name inside the package -> file; a folder stands for its `__init__`."""
    paths = {path.relative_to(ROOT): path for path in ROOT.rglob("*.py")}
    names = {".".join(relative.with_suffix("").parts): path for relative, path in paths.items()}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


@cache
def imports(module: str) -> tuple[set[str], set[str]]:
    """The imports of a module at the top level and inside functions, as dotted names; ours begin with `trimer.`."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    return set(_names(tree, inside=False)), set(_names(tree, inside=True))


def _names(tree: ast.AST, inside: bool, here: bool = False) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import) and here == inside:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and here == inside:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full.removeprefix("trimer.") in modules() else str(node.module)
        yield from _names(node, inside, here or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def ours(names: set[str]) -> set[str]:
    return {name.removeprefix("trimer.") for name in names if name.startswith("trimer.")}


def closure(module: str) -> set[str]:
    """All modules of Trimer that are loaded with a module, including their packages."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in modules():
            continue
        seen.add(name)
        parents = [name[:place] for place, sign in enumerate(name) if sign == "."]
        waiting += [*ours(imports(name)[0]), *parents]
    return seen


def of_part(part: str) -> list[str]:
    return sorted(name for name in modules() if is_in(name, part))


@pytest.mark.parametrize("part", LAYERS)
def test_a_layer_imports_only_lower_layers(part):
    allowed = LAYERS[part] | BASE | {part}
    wrong = [
        f"{module} imports {name}"
        for module in of_part(part)
        for name in sorted(ours(set.union(*imports(module))))
        if not any(is_in(name, other) for other in allowed | EXCEPTIONS.get(module, set()))
    ]
    assert wrong == []


def test_the_layers_are_listed_from_lowest_to_highest():
    """No layer may import a higher layer, so no two layers import each other."""
    order = list(LAYERS)
    for part, allowed in LAYERS.items():
        above = [other for other in allowed if other in order and order.index(other) > order.index(part)]
        assert above == [], f"{part} is listed below {', '.join(above)}"


def test_each_exception_is_needed():
    for module, names in EXCEPTIONS.items():
        assert names <= ours(set.union(*imports(module))), f"{module} no longer imports all of {sorted(names)}"


@pytest.mark.parametrize("part", FOREIGN)
def test_a_package_loads_no_library_that_it_does_not_need(part):
    for module in of_part(part):
        for loaded in closure(module):
            packages = {name.partition(".")[0] for name in imports(loaded)[0]}
            if loaded in of_part(part):
                packages |= {name.partition(".")[0] for name in imports(loaded)[1]}
            assert not packages & FOREIGN[part], f"{module} loads {sorted(packages & FOREIGN[part])} through {loaded}"


@pytest.mark.parametrize("part", NEVER)
def test_forbidden_imports_are_absent(part):
    wrong = [
        f"{module} imports {name}"
        for module in of_part(part)
        for name in ours(set.union(*imports(module)))
        if any(is_in(name, other) for other in NEVER[part])
    ]
    assert wrong == []


def test_data_modules_have_no_import_cycles():
    """No import cycle between readers, sources, tables and data modules, not even inside functions."""
    names = of_part("data")
    edges = {module: {name for name in ours(set.union(*imports(module))) if is_in(name, "data")} for module in names}
    while leaves := [module for module, targets in edges.items() if not targets & edges.keys()]:
        for module in leaves:
            del edges[module]
    assert edges == {}, "these modules import each other"
