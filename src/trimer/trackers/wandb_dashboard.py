"""A workspace and a report of Weights & Biases for the runs of a study, built from its plan; sent only by `save`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from trimer.errors import ConfigError
from trimer.trackers.dashboard_plan import Plan

WIDTH, HEIGHT, ROW = 8, 6, 3  # of a panel in units of the grid, panels in a row
NO_PACKAGE = "trimer dashboard needs a package: pip install 'trimer[dashboards]'"


@dataclass
class WandbDashboard:
    """The workspace and the report of a plan. entity: None is the default of the account."""

    plan: Plan
    project: str
    entity: str | None = None

    def __post_init__(self) -> None:
        if find_spec("wandb_workspaces") is None:
            raise ConfigError(NO_PACKAGE)

    def specification(self) -> dict[str, Any]:
        """What `save` would send: the workspace and the report as plain values."""
        workspace, report = self.workspace("entity")._to_model(), self.report("entity")._to_model()
        named = {"workspace": workspace, "report": report}
        return {
            name: model.spec.model_dump(mode="json", by_alias=True, exclude_none=True) for name, model in named.items()
        }

    def save(self) -> list[str]:
        """Create workspace and report with the account of W&B; returns their addresses."""
        import wandb

        entity = self.entity or wandb.Api().default_entity
        if entity is None:
            raise ConfigError("W&B knows no account: log in with wandb login, or set entity=<user or team>")
        workspace, report = self.workspace(entity), self.report(entity)
        workspace.save()
        report.save()
        return [workspace.url, report.url]

    def workspace(self, entity: str) -> Any:
        """Sections by the part of a metric before its slash, the comparison of the runs first."""
        import wandb_workspaces.workspaces as ws
        from wandb_workspaces import expr

        sections = [ws.Section(name="Comparison", panels=placed(self.comparison()), is_open=True, pinned=True)]
        for name, metrics in self.plan.curves.items():
            opened = name in ("val", "train")
            sections.append(ws.Section(name=name, panels=placed(self.lines(metrics)), is_open=opened))
        if panels := self.objects():
            sections.append(ws.Section(name="Results", panels=placed(panels)))
        runs = ws.RunsetSettings(filters=expr.And(expr.Metric("Group").isin(self.plan.groups)))
        return ws.Workspace(entity=entity, project=self.project, name=self.plan.title, sections=sections,
                            runset_settings=runs)  # fmt: skip

    def report(self, entity: str) -> Any:
        """The comparison, then the curves of validation and training, then tables, as a page with headings."""
        import wandb_workspaces.reports.v2 as wr
        from wandb_workspaces import expr

        def grid(panels: Sequence[Any]) -> Any:
            # Without a project the runs are those of the project of the report.
            runs = wr.Runset(name=self.plan.title, filters=expr.And(expr.Metric("Group").isin(self.plan.groups)))
            return wr.PanelGrid(runsets=[runs], panels=placed(panels))

        compared = f"Compared by {self.plan.objective}." if self.plan.objective else "No metric was logged."
        blocks: list[Any] = [wr.TableOfContents(), wr.H1("Comparison"), wr.P(compared), grid(self.comparison())]
        for name, metrics in self.plan.curves.items():
            if name in ("val", "train"):
                blocks += [wr.H1("Validation" if name == "val" else "Training"), grid(self.lines(metrics))]
        if panels := self.objects():
            blocks += [wr.H1("Results"), grid(panels)]
        title, description = self.plan.title, ", ".join(self.plan.groups)
        return wr.Report(project=self.project, entity=entity, title=title, description=description, blocks=blocks)

    def comparison(self) -> list[Any]:
        """Best values, parallel coordinates, each number against the objective, importance of settings."""
        import wandb_workspaces.reports.v2 as wr

        plan = self.plan
        if not plan.objective:
            return []
        best = wr.SummaryMetric(plan.best)
        panels: list[Any] = [wr.BarPlot(title=f"best {plan.objective}", metrics=[best])]
        if plan.settings:
            axes = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(s.key), log=s.logarithmic) for s in plan.settings]
            objective = wr.ParallelCoordinatesPlotColumn(metric=best, inverted=plan.lower_is_better)
            panels.append(wr.ParallelCoordinatesPlot(columns=[*axes, objective]))
            panels.append(wr.ParameterImportancePlot(with_respect_to=plan.best))
        for setting in plan.settings:
            if setting.numbers:
                panels.append(wr.ScatterPlot(x=wr.Config(setting.key), y=best, log_x=setting.logarithmic))
        return panels

    def lines(self, metrics: Sequence[str]) -> list[Any]:
        """A line plot for each metric over the optimizer steps."""
        import wandb_workspaces.reports.v2 as wr

        return [wr.LinePlot(title=name, x="Step", y=[name]) for name in metrics]

    def objects(self) -> list[Any]:
        """Tables, pages and figures of the runs."""
        import wandb_workspaces.reports.v2 as wr

        panels = [wr.WeavePanelSummaryTable(table_name=name) for name in self.plan.tables]
        media = [wr.MediaBrowser(title=name, media_keys=[name]) for name in self.plan.media]
        return [*panels, *media]


def placed(panels: Sequence[Any]) -> list[Any]:
    """The panels, side by side on the grid of a section."""
    import wandb_workspaces.reports.v2 as wr

    for place, panel in enumerate(panels):
        panel.layout = wr.Layout(x=WIDTH * (place % ROW), y=HEIGHT * (place // ROW), w=WIDTH, h=HEIGHT)
    return list(panels)
