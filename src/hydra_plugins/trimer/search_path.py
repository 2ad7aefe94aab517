"""Adds the user's config folders, `TRIMER_CONF` and `./conf`, to Hydra's search path, after the shipped one."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class UserConfigs(SearchPathPlugin):
    """Search path plugin. Hydra runs it in every program, so it adds our folders only to the search path of Trimer."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from trimer.cli.configs import shipped_folder, user_folders

        known = {part.path for part in search_path.get_path()}
        if f"file://{shipped_folder()}" in known:
            for path in (f"file://{folder}" for folder in user_folders()):
                if path not in known:  # if Trimer is installed twice, this plugin runs twice
                    search_path.append("trimer-user", path)
