"""Files and pages of a run: only those that exist, with links from the page of a split."""

from __future__ import annotations

from trimer.reporting.page_files import run_files, run_pages


def test_existing_files_are_listed_with_link_content_and_size(tmp_path):
    for name, size in {"test/table.csv": 12, "test/by_adduct.csv": 2_500, "checkpoints/best.ckpt": 12_400_000}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    assert run_files(tmp_path, "test") == [
        {"name": "table.csv", "content": "the result table, all metrics", "size": "12 B"},
        {"name": "by_adduct.csv", "content": "the metrics of each group of records", "size": "2.5 kB"},
        {"name": "../checkpoints/best.ckpt", "content": "weights of the best validation", "size": "12 MB"},
    ]
    assert run_files(tmp_path / "nothing", "test") == []


def test_pages_of_other_splits_and_of_embeddings_are_linked(tmp_path):
    for name in ("test/page.html", "test/embeddings.html", "val/page.html", "val/embeddings.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert run_pages(tmp_path, "test") == [
        {"href": "embeddings.html", "label": "Embeddings"},
        {"href": "../val/page.html", "label": "Results on val"},
    ]
    assert run_pages(tmp_path, "train") == [
        {"href": "../test/page.html", "label": "Results on test"},
        {"href": "../val/page.html", "label": "Results on val"},
    ]
