"""Log records on their way to a person: through the display, where they neither break a table nor wait for a screen."""

from __future__ import annotations

import logging
from collections.abc import Callable


class SpokenLog(logging.Handler):
    """Hands each record to a display's `say`, without secrets."""

    def __init__(self, say: Callable[[str], None], redact: Callable[[str], str] = str) -> None:
        super().__init__()
        self._say = say
        self._redact = redact

    def emit(self, record: logging.LogRecord) -> None:
        """Say one record, its traceback included."""
        try:
            self._say(self._redact(self.format(record)))
        except Exception:  # as every handler: logging must not raise into the code that logs
            self.handleError(record)
