"""One file a command: `main(cfg)`; its config is conf/<command>.yaml, its name is in `trimer.cli.screens.COMMANDS`."""
