"""`trimer dashboard`: a W&B workspace and report for the runs of folders, built from what these runs logged."""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import DictConfig

from trimer.commands.next_steps import suggest, word


def main(cfg: DictConfig) -> None:
    from trimer.commands.report import input_folders
    from trimer.files import write_text
    from trimer.reporting.runs import read_runs, summarise
    from trimer.trackers.dashboard_plan import plan_of
    from trimer.trackers.wandb_dashboard import WandbDashboard

    folders = input_folders(cfg.input)
    title = cfg.title or " and ".join(folder.resolve().name for folder in folders[:3])
    plan = plan_of(summarise(read_runs(*folders), objective=cfg.objective), title)
    dashboard = WandbDashboard(plan, cfg.project, cfg.entity)
    if cfg.output:
        output = Path(cfg.output).expanduser()
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, json.dumps(dashboard.specification(), indent=1) + "\n")
        print(output)
        suggest(f"without output={word(output)} the dashboard is created in W&B")
        return
    for address in dashboard.save():
        print(address)
