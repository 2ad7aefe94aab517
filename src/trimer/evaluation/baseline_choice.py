"""The baselines that the setting `baselines` of `trimer train` and `trimer evaluate` chooses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trimer.errors import ConfigError


def chosen_baselines(setting: bool | Sequence[str], names: Iterable[str]) -> list[str]:
    """Names of the chosen baselines, in the order of `names`: those of result tables.

    setting: true for all, false for none, or a list of names or parts of names, in any case of letters, such as
    [SVM, boosting]. ConfigError for a part that occurs in no name.

    >>> chosen_baselines(["svm", "forest"], ["random forest", "SVM", "majority"])
    ['random forest', 'SVM']
    """
    names = list(names)
    if isinstance(setting, bool):
        return names if setting else []
    is_list = isinstance(setting, Sequence) and not isinstance(setting, str)
    if not is_list or not all(isinstance(part, str) and part.strip() for part in setting):
        raise ConfigError(f"baselines={setting} must be true, false or a list of names, such as [SVM, boosting]")
    if setting and not names:
        raise ConfigError("baselines: there are none to choose from for this model and data; use baselines=false")
    for part in setting:
        if not any(part.lower() in name.lower() for name in names):
            listed = "; ".join(names)
            raise ConfigError(f"baselines: '{part}' is in no name of a baseline; use names or parts of: {listed}")
    return [name for name in names if any(part.lower() in name.lower() for part in setting)]
