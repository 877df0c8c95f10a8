"""What libraries say about their own insides is not for the user."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(*, below: int = logging.WARNING, prints: bool = False) -> Iterator[None]:
    """Silence warnings, logged up to the level ``below`` or not, and, on demand, what is printed.

    Exceptions pass: they are what the user has to know.
    """
    level = logging.root.manager.disable
    logging.disable(below)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            if prints:
                stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
                stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            yield
    finally:
        logging.disable(level)
