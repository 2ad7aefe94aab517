"""What a run folder records to repeat the run, and how two runs are compared and one is repeated."""
