"""Errors that a user can fix: one sentence that names the file, line or key, and what to do."""


class TrimerError(Exception):
    """Base class of errors that the command line prints as one sentence, without a traceback."""


class InputError(TrimerError):
    """A file, record or value that cannot be used; the message names file, line or row, and what to do."""


class BrokenOff(InputError):
    """A truncated or damaged file; the records before the damage have been read.

    unfinished: bytes of the incomplete record, if the reader reads by record.
    """

    unfinished: bytes = b""


class ConfigError(TrimerError):
    """A setting that cannot be used; the message names the key, its value and the allowed values."""


class UsageError(ConfigError):
    """A command line that cannot be understood."""


class CheckpointError(TrimerError):
    """A checkpoint that cannot be read, or whose model is of the wrong kind for the command."""


class Terminated(SystemExit):
    """Exit after SIGTERM or SIGHUP, once the command has forwarded the signal to its own processes."""
