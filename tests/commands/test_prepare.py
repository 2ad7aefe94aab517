"""`trimer prepare` in shards: a missing shard is named with the command that prepares it, which a launcher runs."""

from __future__ import annotations

import shlex

from trimer.simulate.simulated_molecules import simulated_molecules


def test_the_command_for_a_missing_shard_runs_as_a_job_and_completes_the_store(trimer, shell, empty_folder, capfd):
    (empty_folder / "a.smi").write_text("\n".join(simulated_molecules(30)))
    words = [
        "prepare",
        "data=molecules",
        "data.source.paths=a.smi",
        "data.prepare_workers=1",
        "data.split.keys=[scaffold]",
    ]
    fractions = "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}"
    assert trimer(*words, fractions, "paths.cache=whole") == 0
    assert trimer(*words, fractions, "paths.cache=shards", "shards=2", "shard=0") == 0
    assert "next: trimer prepare" in "".join(capfd.readouterr())
    assert trimer(*words, fractions, "paths.cache=shards", "shards=2") == 1
    message = capfd.readouterr().err
    assert "1 of 2 shards are missing" in message
    command = shlex.split(message[message.index("trimer prepare -m") :])
    assert command[-2:] == ["shards=2", "shard=1"]
    done = shell(*command)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("job 0 ") == 2 and "finished" in done.stderr
    assert trimer(*words, fractions, "paths.cache=shards", "shards=2") == 0
    (whole,), (joined,) = (list(empty_folder.glob(f"{name}/molecules_masked-*")) for name in ("whole", "shards"))
    for name in ("columns.arrow", "manifest.json"):
        assert (joined / name).read_bytes() == (whole / name).read_bytes()


def test_impossible_requests_for_shards_are_one_sentence(trimer, capfd):
    assert trimer("prepare", "shard=1") == 1
    assert "add shards=<number>" in capfd.readouterr().err
    assert trimer("prepare", "shards=2", "shard=0") == 1
    assert "is not prepared in shards, only molecules and proteins" in capfd.readouterr().err
