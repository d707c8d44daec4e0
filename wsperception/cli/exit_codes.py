"""What a command gives back to the shell."""

OK, FOUND_WRONG, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
