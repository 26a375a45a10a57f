"""Every error a user can meet, with the exit code the command line leaves with.

An error is one sentence: what was asked of which instrument, file or run, what came back, where it is
configured and what to do about it. The command line prints that sentence alone, never a traceback.
"""


class LabtrainError(Exception):
    """Root of all errors meant for a user."""

    exit_code = 1


class InputError(LabtrainError):
    """Something the user gave (a file, a value, an option) cannot be used; nothing has moved yet."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration file holds one or more errors; the message has one line for each."""


class DataError(InputError):
    """A data set or an input table is missing, malformed or unfit for training."""


class RunError(InputError):
    """A run folder is missing, in use, corrupt, of a newer version, or does not fit what was asked."""


class RunExists(RunError):
    """The run folder to be made is there already."""


class MissingExtra(InputError):
    """An optional dependency is not installed; the message says what to install."""


class InstrumentError(LabtrainError):
    """An instrument, or the simulated world in its place, refused or failed."""

    exit_code = 3


class MeasurementError(InstrumentError):
    """A shot stayed bad after every allowed repetition; earlier shots are kept."""


class LinkError(InstrumentError):
    """The way to an instrument failed; the rig may recover by opening the instrument again."""


class LinkRefused(LinkError):
    """Nothing opened at the address: no such device, no permission, busy, nobody listening, no answer in time."""


class LinkTimeout(LinkError):
    """An answer, or part of it, did not come in time."""


class LinkClosed(LinkError):
    """The other end hung up, or the device was unplugged."""


class LinkDesync(LinkError):
    """What came does not belong to what was asked, and the link could not be brought back in step."""


class Diverged(LabtrainError):
    """A network in training holds values that are no numbers any more, and no update brings them back."""


class UnsafeError(LabtrainError):
    """A limit that protects people or equipment would be, or was, exceeded."""

    exit_code = 4


class Interrupted(LabtrainError):
    """Stopped by Ctrl-C or SIGTERM after the current chunk was kept and the rig made safe."""

    exit_code = 130
