"""A search: seeded, resumable, with failed and pruned trials and several objectives."""

from __future__ import annotations

import json
import math
from io import BytesIO
from wsgiref.util import setup_testing_defaults

import pytest

pytest.importorskip("optuna")

from trimer.errors import ConfigError
from trimer.sweeps import pruning_files
from trimer.sweeps.search import STUDY, Search
from trimer.sweeps.search_space import Choice, Range

SPACE = {"lr": Range(1e-4, 1e-1, None, True), "layers": Range(1, 4, 1, False), "model": Choice(("a", "b"))}


def search(folder, **changes):
    settings = {
        "name": "test",
        "objectives": {"val/loss": "minimize"},
        "space": SPACE,
        "fixed": ["name=x", "n_jobs=1"],
        "n_trials": 6,
        "sampler": "tpe",
        "pruner": "median",
        "startup_trials": 2,
        "seed": 5,
        "storage": None,
    }
    return Search(folder, **(settings | changes))


def run(search, stop=math.inf, **result):
    """Run trials without jobs: the objective is a function of the settings. Returns their overrides."""
    words = []
    while len(words) < stop and (trial := search.next_trial()) is not None:
        words.append(search.overrides(trial))
        values = {"objective": math.log10(trial.params["lr"]) ** 2, **result}
        (search.folder / str(trial.number)).mkdir(exist_ok=True)
        (search.folder / str(trial.number) / "result.json").write_text(json.dumps(values))
        search.record(trial, None)
    return words


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    done = search(folder)
    return done, run(done)


def test_the_settings_are_overrides_within_the_space(whole):
    for words in whole[1]:
        assert words[:2] == ["name=x", "n_jobs=1"]
        settings = dict(word.split("=") for word in words[2:])
        assert 1e-4 <= float(settings["lr"]) <= 1e-1
        assert settings["layers"] in "1234" and settings["model"] in "ab"


def test_an_interrupted_search_continues_with_the_same_settings(whole, tmp_path):
    first = search(tmp_path)
    words = run(first, stop=3)
    unfinished = first.overrides(first.next_trial())  # its process dies here
    later = run(search(tmp_path, fixed=["name=x", "n_jobs=2"]))  # n_jobs may change
    assert [word[2:] for word in [*words, *later]] == [word[2:] for word in whole[1]]
    assert later[0][2:] == unfinished[2:]
    assert len(search(tmp_path).study.trials) == 6
    assert run(search(tmp_path)) == []


def test_the_summary_names_the_best_trial(whole):
    summary = whole[0].summary()
    assert summary["trials"] == {"finished": 6, "pruned": 0, "failed": 0}
    (best,) = summary["best"]
    assert best["values"]["val/loss"] == min(trial.value for trial in whole[0].study.trials)
    assert set(best["settings"]) == set(SPACE)


def test_optuna_dashboard_opens_the_study(whole):
    """The application that `optuna-dashboard <sweep>/study.log` serves, asked without a server."""
    dashboard = pytest.importorskip("optuna_dashboard", reason="needs trimer[sweep]")
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    application = dashboard.wsgi(JournalStorage(JournalFileBackend(str(whole[0].folder / STUDY))))
    (study,) = answer(application, "/api/studies")["study_summaries"]
    assert (study["study_name"], study["directions"]) == ("test", ["minimize"])
    shown = answer(application, f"/api/studies/{study['study_id']}")
    assert [trial["values"] for trial in shown["trials"]] == [trial.values for trial in whole[0].study.trials]
    assert shown["objective_names"] == ["val/loss"]


def answer(application, path: str) -> dict:
    """The JSON that a web application returns for a path."""
    request = {"PATH_INFO": path, "REQUEST_METHOD": "GET", "wsgi.input": BytesIO()}
    setup_testing_defaults(request)
    codes = []
    body = b"".join(application(request, lambda status, *_: codes.append(status)))
    assert codes == ["200 OK"], body
    return json.loads(body)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"space": SPACE | {"lr": Range(1e-3, 1e-1, None, True)}}, "lr: 0.0001 to 0.1, logarithmic, and now it is 0.0"),
        ({"space": SPACE | {"new": Choice(("1",))}}, r"new: not searched, and now it is choice\(1\)"),
        ({"fixed": ["name=y"]}, "the overrides name=x, now name=y"),
        ({"objectives": {"val/acc": "minimize"}}, "the objectives val/loss: minimize, now val/acc: minimize"),
        ({"objectives": {"val/loss": "maximize"}}, "holds a search with other objectives"),
    ],
)
def test_a_search_with_other_settings_is_rejected(whole, change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        search(whole[0].folder, **change)


def test_failed_trials_are_recorded_and_the_search_continues(tmp_path):
    running = search(tmp_path, n_trials=3)
    trial = running.next_trial()
    running.record(trial, "job 0 failed: loss is NaN")
    run(running, stop=1, objective=None)  # not finite
    run(running)
    assert [trial.state.name for trial in running.study.trials] == ["FAIL", "FAIL", "COMPLETE"]
    assert [trial.user_attrs.get("failure") for trial in running.study.trials] == [
        "job 0 failed: loss is NaN",
        "no finite val/loss",
        None,
    ]


def test_several_objectives_have_a_front(tmp_path):
    goals = {"val/loss": "minimize", "seconds": "maximize"}
    running = search(tmp_path, n_trials=2, objectives=goals, sampler="nsgaii")
    run(running, stop=1, metrics={"val/loss": 1.0}, seconds=1)
    run(running, metrics={"val/loss": 2.0}, seconds=2)
    assert [best["values"] for best in running.summary()["best"]] == [
        {"val/loss": 1.0, "seconds": 1.0},
        {"val/loss": 2.0, "seconds": 2.0},
    ]


def test_a_hopeless_trial_is_pruned(tmp_path):
    running = search(tmp_path, n_trials=3, startup_trials=1)
    for value, expected in ((1.0, False), (9.0, True)):
        trial = running.next_trial()
        folder = tmp_path / str(trial.number)
        pruning_files.expect_reports(folder)
        pruning_files.report(folder, 1, value)
        running.decide_on_reports()
        assert pruning_files.wait_for_decision(folder, 1, 1.0) is expected
        result = {"objective": value, **({"stopped_early": "pruned"} if expected else {})}
        (folder / "result.json").write_text(json.dumps(result))
        running.record(trial, None)
    assert [trial.state.name for trial in running.study.trials] == ["COMPLETE", "PRUNED"]
    assert not pruning_files.wait_for_decision(folder, 2, 0.01)  # no decision yet
