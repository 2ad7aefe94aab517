"""The version of the code of a run: git commits, uncommitted changes, and untracked files with copies of small ones.

Files that may hold secrets are never copied: only files of SOURCE are, without hidden ones and without those whose name
contains a word of SECRET.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path
from typing import Any

import trimer
from trimer.files import write_text

PACKAGE = Path(trimer.__file__).parent
SOURCE = {".py", ".pyx", ".c", ".cpp", ".cu", ".h", ".yaml", ".yml", ".toml", ".sh", ".ipynb"}
SECRET = re.compile(r"secret|credential|token|passw|api.?key|private", re.IGNORECASE)
COPIES = "untracked"  # subfolder of a run folder
FILES = 200  # untracked files that are listed at most
LARGEST = 1 << 18  # bytes of a file that is copied at most
TOTAL = 1 << 22  # bytes of all copies at most


def code_version(folder: Path, diff_name: str = "git.diff") -> dict[str, Any]:
    """`git`: the checkout of Trimer, else of the working directory; `project`: of the working directory, if other.

    Each has `sha`, `dirty`, the number of `untracked` files, and `untracked_files` with path, bytes, sha256, copy.
    Writes the diffs and the copies to the run folder.
    """
    code = checkout_of(PACKAGE, "run.py")
    project = checkout_of(Path.cwd())
    version: dict[str, Any] = {"git": None}
    if (main := code or project) is not None:
        version["git"] = state(main, folder, diff_name)
    if code is not None and project not in (None, code):
        version["project"] = state(project, folder, f"project.{diff_name.removeprefix('git.')}", f"{COPIES}/project")
    return version


def checkout_of(folder: Path, tracked: str | None = None) -> Path | None:
    """The root of the git checkout of a folder, if it has a commit. tracked: a file of the folder that git must track.

    An installed package may lie inside an unrelated checkout, which does not track it.
    """
    root = git(folder, "rev-parse", "--verify", "--quiet", "HEAD") and git(folder, "rev-parse", "--show-toplevel")
    if not root or (tracked and git(folder, "ls-files", "--error-unmatch", tracked) is None):
        return None
    return Path(root)


def state(checkout: Path, folder: Path, diff_name: str, copies: str = COPIES) -> dict[str, Any]:
    """Commit, uncommitted changes and untracked files of a checkout; writes the diff and copies to the run folder."""
    diff = git(checkout, "diff", "HEAD") or ""
    if diff:
        write_text(folder / diff_name, diff + "\n")
    names = untracked(checkout, folder)
    return {
        "sha": git(checkout, "rev-parse", "HEAD"),
        "dirty": bool(diff),
        "untracked": len(names),
        "untracked_files": kept_files(checkout, names, folder, copies),
    }


def untracked(checkout: Path, folder: Path) -> list[str]:
    """The untracked files of a checkout that git does not ignore, without the folder of all runs."""
    names = (git(checkout, "ls-files", "--others", "--exclude-standard", "-z") or "").split("\0")
    try:
        runs = folder.resolve().relative_to(checkout.resolve()).parts[:1]
    except ValueError:
        runs = ()
    return [name for name in names if name and Path(name).parts[:1] != (runs or ("",))]


def kept_files(checkout: Path, names: list[str], folder: Path, copies: str) -> list[dict[str, Any]]:
    """Path and bytes of the first files; sha256 of source files, and a copy of those that are small."""
    files, total = [], 0
    for name in names[:FILES]:
        path = checkout / name
        try:
            size = path.stat().st_size
            entry: dict[str, Any] = {"path": name, "bytes": size}
            if path.is_file() and may_be_copied(Path(name)) and size <= LARGEST:
                content = path.read_bytes()
                entry["sha256"] = hashlib.sha256(content).hexdigest()
                if (total := total + size) <= TOTAL:
                    copy = folder / copies / name
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    copy.write_bytes(content)
                    entry["copy"] = f"{copies}/{name}"
        except OSError:  # removed meanwhile, or not readable
            continue
        files.append(entry)
    return files


def may_be_copied(path: Path) -> bool:
    """Whether a file is source code or a config, and its path shows no sign of a secret."""
    hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix.lower() in SOURCE and not hidden and not SECRET.search(path.as_posix())


def git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command in a folder; None if git is not installed or the folder is not a checkout."""
    try:
        completed = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout.decode(errors="replace").strip("\n")
