"""The one exception that means: what the user gave is wrong."""


class InputError(ValueError):
    """A mistake in a file, message, setting or argument that its user can mend.

    The text is one line that names the thing and what was expected of it. The command line prints it
    and exits with 2; the node logs it and goes on, or refuses to configure.
    """
