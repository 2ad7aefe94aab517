"""Jobs of sweeps: their folders and commands, search spaces, and the searches that choose their settings."""
