"""Finds a user's own configs in `TRIMER_CONF` and in `./conf`, behind those that come with Trimer."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class UserConfigs(SearchPathPlugin):
    """Hydra asks every installed plugin, also those of other programs: theirs must not see our folders."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from trimer.cli.configs import shipped_folder, user_folders

        known = {part.path for part in search_path.get_path()}
        if f"file://{shipped_folder()}" in known:
            for path in (f"file://{folder}" for folder in user_folders()):
                if path not in known:  # where Trimer is found twice, so is this plugin
                    search_path.append("trimer-user", path)
