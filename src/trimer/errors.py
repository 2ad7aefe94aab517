"""Errors that a user can act on: one sentence that names the file, line or key and the fix."""


class TrimerError(Exception):
    """Base of every error that the command line prints as one sentence, without a traceback."""


class InputError(TrimerError):
    """A file, a record or a value that cannot be used; the message names file, line or row, and the fix."""


class BrokenOff(InputError):
    """A file of which only a beginning can be read, since it is cut, damaged or has no end; that has been read.

    unfinished: the bytes of the record in which it breaks off, where the reader reads by record.
    """

    unfinished: bytes = b""


class ConfigError(TrimerError):
    """A setting that cannot be used; the message names the key, what was found, and what is allowed."""


class UsageError(ConfigError):
    """A command line that cannot be understood."""


class CheckpointError(TrimerError):
    """A checkpoint that cannot be read, or that holds another kind of model than the command needs."""
