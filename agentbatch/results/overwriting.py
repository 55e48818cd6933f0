"""What `--overwrite` replaces stands aside until a new result is there: a run that never gets so far loses nothing.

A run may be killed between any two of the moves here, so their order tells how far they came: the results are the last
that is set aside, the first that is put back, and the last that is deleted.
"""

from __future__ import annotations

import shutil
from os.path import lexists
from pathlib import Path

from agentbatch.errors import OutputError
from agentbatch.results.files import ResultFiles


class SetAside:
    """The files of earlier runs over one output, in a folder beside it. Hold the output's lock.

    Every method raises `OutputError`: a file can't be moved or deleted.
    """

    def __init__(self, files: ResultFiles) -> None:
        self.results = files.results
        self._files = files
        self._folder = files.aside

    def begin(self) -> None:
        """Set aside what stands in place."""
        self.settle()
        try:
            if not self._files.results.exists() or not self._files.results.stat().st_size:
                self._files.discard()  # nothing is lost
                return
            self._folder.mkdir()
            for path in reversed(self._files.all_of_run):
                if lexists(path):
                    path.rename(self._folder / path.name)
        except OSError as error:
            raise self._failure(error) from error

    def settle(self, *, replaced: bool = False) -> bool:
        """Put back what stands aside, unless something new was kept meanwhile, or is known to have `replaced` it.

        Returns:
            Whether something was put back.
        """
        if not self._folder.is_dir():
            return False
        try:
            complete = lexists(self._folder / self._files.results.name)
            if complete and (replaced or self._new_is_kept()):
                self._delete()
                return False
            if complete:
                self._files.discard()
            for path in self._files.all_of_run:
                if lexists(self._folder / path.name):
                    (self._folder / path.name).rename(path)
            self._folder.rmdir()
            return True
        except OSError as error:
            raise self._failure(error) from error

    def _new_is_kept(self) -> bool:
        """Whether anything that was paid stands in place: results, calls of unfinished items, or provider batches."""
        files = self._files
        has_results = files.results.exists() and files.results.stat().st_size > 0
        return has_results or files.journal.exists() or files.batches.exists()

    def _delete(self) -> None:
        results = self._folder / self._files.results.name
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != results:
                path.unlink()
        results.unlink()
        self._folder.rmdir()

    def _failure(self, error: OSError) -> OutputError:
        where: Path | str = error.filename or self._folder
        return OutputError(f"{where}: cannot be set aside for --overwrite: {error.strerror}")
