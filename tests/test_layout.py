"""Tests mirror the source: `src/trimer/a/b.py` is tested by `tests/a/test_b.py`. Files and functions are short."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parent
SOURCE = TESTS.parent / "src"

FILE_LINES, FUNCTION_LINES = 350, 80  # at most, in src/

# Folders whose tests cover no single module: whole commands, documentation, configs, benchmarks, another PyTorch.
FOLDERS = {"integration", "docs", "conf", "benchmarks", "xla"}

# Test file -> what it covers instead of a single module.
EXCEPTIONS = {
    "test_imports.py": "imports between all packages",
    "test_language.py": "the wording of documentation, configs and source",
    "test_layout.py": "the folder of tests",
    "test_packaging.py": "the wheel, the Makefile and the licence",
    "reporting/test_page_in_browser.py": "page and embedding_page with their scripts, in headless Chromium",
    "data/peptides/test_libraries.py": "library_tables, library_texts and fragment_annotations",
    "data/peptides/test_search_results.py": "psm_quality and peptide_merging, read as peptides and as labels",
    "data/spectra/test_cleaning_settings.py": "the constructors of all cleaning steps",
    "data/spectra/readers/test_tables.py": "gnps_json and massspecgym",
    "data/spectra/readers/test_xml.py": "mzml and mzxml",
}

# File names that occur twice in src/, which a file picker shows without a difference; the files of commands have the
# names of the commands.
SAME_NAMES = {
    "embeddings.py": "callbacks: what a tracker shows; results: what trimer.embed returns",
}

# Which kind of study a checkpoint belongs to is asked of its study (`trimer.studies`), never by comparing words. What
# is listed here depends on the kind of records that a client sends or an example file holds: file -> comparisons.
RECORDS = {"spectra", "precursors", "molecules", "proteins", "peptides"}
ABOUT_RECORDS = {
    "commands/demo.py": 1,  # the baselines of the demo are look-ups of spectra
    "pretrained/rounding_changes.py": 1,  # spectra are generated from, so token probabilities are compared
    "serving/kserve.py": 3,  # the tensors of KServe for each kind of records
    "serving/served_cards.py": 5,  # example records as a client would send them
    "serving/uploads.py": 2,  # the format of an upload without a suffix
}

# What a model of labels predicts is asked of the class of its target (`trimer.targets`). File -> comparisons with the
# word itself, which is what a checkpoint, a config or another library says there.
TARGET_WORDS = {"single", "multi", "regression", "residue"}
ABOUT_TARGETS = {
    "callbacks/embeddings.py": 1,  # a message about data.target=multi
    "export/huggingface.py": 1,  # names of transformers
    "prediction/fragment_predictor.py": 1,  # whether a checkpoint is one of retention times
    "pretrained/rounding_changes.py": 1,  # the unit of a difference, for checkpoints with and without labels
    "public_classifier.py": 1,  # the task of a model of transformers
    "studies/label_study.py": 1,  # a config that need not have labels
}

# Where the kind of study "fragments of peptides" is, in the package: a kind with a head, metrics, figures, a format of
# its records and a library of its own. A kind of a user is one file (docs/extend/own_study.md).
FOLDERS_OF_FRAGMENTS = {
    "data", "evaluation", "metrics", "models", "peptides", "prediction", "reporting", "studies", "tasks",
}  # fmt: skip


def has_module(test: Path) -> bool:
    """Whether `a/test_b.py` names a module `a/b.py` or a package `a/b`."""
    if test.parts[0] == "hydra_plugins":
        folder = SOURCE / "hydra_plugins" / "trimer" / test.parent.relative_to("hydra_plugins")
    else:
        folder = SOURCE / "trimer" / test.parent
    name = test.stem.removeprefix("test_")
    return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()


def test_each_test_file_names_a_module_or_a_package():
    tests = [path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")]
    single = [path for path in tests if path.parts[0] not in FOLDERS and path.as_posix() not in EXCEPTIONS]
    misplaced = sorted(str(path) for path in single if not has_module(path))
    assert single and not misplaced, f"{misplaced}: rename each after its module or move it to tests/integration"


def test_each_exception_is_needed():
    missing = [name for name in EXCEPTIONS if not (TESTS / name).is_file()]
    assert not missing, f"{missing}: remove these from EXCEPTIONS, there are no such files"
    needless = [name for name in EXCEPTIONS if has_module(Path(name))]
    assert not needless, f"{needless}: remove these from EXCEPTIONS, there are modules of these names"


def test_names_of_files_are_unique():
    paths = [path.relative_to(SOURCE) for path in SOURCE.rglob("*.py") if path.name[0] != "_"]
    names = Counter(path.name for path in paths if path.parent.name != "commands")
    assert {name for name, count in names.items() if count > 1} == set(SAME_NAMES), "give each file its own name"


def test_files_and_functions_are_short():
    long = []
    for path in SOURCE.rglob("*.py"):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(SOURCE).as_posix()
        if (lines := len(text.splitlines())) > FILE_LINES:
            long.append(f"{name} has {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and (lines := node.end_lineno - node.lineno + 1) > FUNCTION_LINES:
                long.append(f"{node.name} in {name} has {lines} lines")
    assert not long, f"{long}: at most {FILE_LINES} for a file and {FUNCTION_LINES} for a function"


CLASSES = {
    node.name
    for folder in ("tasks", "studies")
    for path in (SOURCE / "trimer" / folder).glob("*.py")
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.ClassDef)
}


def asks_for_the_kind(node: ast.Compare) -> bool:
    """Whether a comparison is one of the kind of a study with a word: a kind of records, or the name of a class."""
    sides = [node.left, *node.comparators]
    words = {word.value for side in sides for word in ast.walk(side) if isinstance(word, ast.Constant)}
    texts = [ast.unparse(side) for side in sides]
    kind = any(text == "kind" or text.endswith((".example", "['kind']", "['study']")) for text in texts)
    return kind and bool(words & (RECORDS | CLASSES))


def test_the_kind_of_a_study_is_not_compared_with_a_word():
    assert asks_for_the_kind(ast.parse("loaded.contract['kind'] == 'MaskedLM'", mode="eval").body)
    counts = Counter(
        path.relative_to(SOURCE / "trimer").as_posix()
        for path in (SOURCE / "trimer").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare) and asks_for_the_kind(node)
    )
    more = {name: count for name, count in counts.items() if count > ABOUT_RECORDS.get(name, 0)}
    assert not more, f"{more}: make it a method of trimer.studies.study.Study"
    assert set(ABOUT_RECORDS) <= set(counts), "remove the files without such a comparison from ABOUT_RECORDS"


def asks_for_the_target(node: ast.AST) -> bool:
    """Whether a comparison, or a table with several keys, asks for the target of labels by its word."""
    if isinstance(node, ast.Dict):
        return len(TARGET_WORDS & {key.value for key in node.keys if isinstance(key, ast.Constant)}) > 1
    if not isinstance(node, ast.Compare):
        return False
    words = {word.value for word in ast.walk(node) if isinstance(word, ast.Constant)}
    return bool(words & TARGET_WORDS) and "pooling" not in ast.unparse(node)  # "residue" is also a pooling


def test_the_target_of_labels_is_not_compared_with_a_word():
    for text in ("data.target == 'multi'", "kind in ('single', 'residue')", "{'single': 1, 'multi': 2}[target]"):
        assert any(asks_for_the_target(node) for node in ast.walk(ast.parse(text)))
    counts = Counter(
        path.relative_to(SOURCE / "trimer").as_posix()
        for path in (SOURCE / "trimer").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if asks_for_the_target(node)
    )
    assert counts == ABOUT_TARGETS, "make it an attribute or a method of trimer.targets.Target"


def test_a_new_target_of_labels_is_a_class_in_one_file():
    tree = ast.parse((SOURCE / "trimer" / "targets.py").read_text(encoding="utf-8"))
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.bases}
    assert len(classes) == len(TARGET_WORDS)
    for path in (SOURCE / "trimer").rglob("*.py"):
        named = {
            node.id for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)
        }
        assert path.name == "targets.py" or not named & classes, f"{path}: use trimer.targets.target_of"


def test_a_kind_of_study_is_in_few_folders():
    folders = {
        path.relative_to(SOURCE / "trimer").parts[0]
        for path in (SOURCE / "trimer").rglob("*.py")
        if path.stem.startswith("fragment") and "fragmentation" not in path.stem
    }
    assert folders == FOLDERS_OF_FRAGMENTS


def is_swallowed(handler: ast.ExceptHandler) -> bool:
    """Whether errors of any type are caught, and neither raised again nor logged nor used in what follows."""
    caught = {part.id for part in ast.walk(handler.type) if isinstance(part, ast.Name)} if handler.type else set()
    if handler.type is not None and not caught & {"Exception", "BaseException"}:
        return False
    inside = [part for statement in handler.body for part in ast.walk(statement)]
    logged = any(isinstance(part, ast.Attribute) and part.attr == "exception" for part in inside)
    used = any(isinstance(part, ast.Name) and part.id == handler.name for part in inside)
    return not (logged or used or any(isinstance(part, ast.Raise) for part in inside))


def test_no_error_is_swallowed_without_a_reason():
    silent = []
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        handlers = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ExceptHandler)]
        lines = [node.lineno for node in handlers if is_swallowed(node)]
        silent += [f"{path.relative_to(SOURCE)}, line {n}" for n in lines if "#" not in text.splitlines()[n - 1]]
    assert not silent, f"{silent}: catch the errors that are expected, or say in a comment why all of them"
