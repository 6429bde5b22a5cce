"""The one exception that users are meant to read."""


class Kd3dError(Exception):
    """A fault the user can mend: the message names the file, field or parameter and the remedy.

    The command line prints it without a traceback and exits with 2; nodes log it as an error.
    Programming mistakes keep their ordinary exceptions and tracebacks.
    """
