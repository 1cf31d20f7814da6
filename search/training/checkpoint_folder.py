"""The place of checkpoints: a folder or a URI (s3://, gs://, abfs://, hdfs://).

Checkpoints are written and read as files; for a URI they pass through a temporary file. PyArrow, which Ray uses too,
handles the URIs and takes credentials from the environment.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem, copy_files
from safetensors import SafetensorError

from search.config.places import checkpoint_place, under
from search.config.study_config import StudyConfig
from search.errors import HaltedError

_PATTERN = "step-*.safetensors"


class CheckpointFolderError(HaltedError):
    """Checkpoints cannot be written or read, for example because the disk is full; this would stop every trial."""


class CheckpointFolder:
    """A trial's checkpoints.

    Args:
        place: a path, or a URI (s3://, gs://, abfs://, hdfs://, file://) with PyArrow's options after a question mark.

    Raises:
        CheckpointFolderError: PyArrow does not support the URI.
    """

    def __init__(self, place: str | Path) -> None:
        self.place = str(place)
        self._system, self._path = LocalFileSystem(), self.place
        if "://" in self.place:
            try:
                self._system, self._path = FileSystem.from_uri(self.place)
            except (OSError, ValueError) as error:
                raise self._error("kept in", error) from error
        self._near = isinstance(self._system, LocalFileSystem)

    def names(self) -> list[str]:
        """Lists the names of the checkpoints, oldest first.

        Raises:
            CheckpointFolderError: the folder cannot be listed.
        """
        try:
            found = self._system.get_file_info(FileSelector(self._path, allow_not_found=True))
        except OSError as error:
            raise self._error("read from", error) from error
        return sorted(
            file.base_name
            for file in found
            if file.type == FileType.File and fnmatch.fnmatch(file.base_name, _PATTERN)
        )

    def write(self, name: str, write: Callable[[Path], None]) -> str:
        """Writes a checkpoint completely, or changes nothing.

        Args:
            name: the file's name.
            write: writes the checkpoint to a given path.

        Returns:
            The checkpoint's path or URI.

        Raises:
            CheckpointFolderError: the checkpoint cannot be written.
        """
        try:
            if self._near:
                self._write(name, write)
            else:
                with tempfile.TemporaryDirectory() as near:
                    write(Path(near, name))
                    self._system.create_dir(self._path, recursive=True)
                    self._copy(near, self._path, name, here=True)
        except (OSError, SafetensorError) as error:
            # safetensors reports an error of the system only in its message
            if isinstance(error, SafetensorError) and "os error" not in str(error):
                raise
            raise self._error("written to", error) from error
        return under(self.place, name)

    def _write(self, name: str, write: Callable[[Path], None]) -> None:
        Path(self._path).mkdir(parents=True, exist_ok=True)
        temporary = Path(self._path, f"{name}.{os.getpid()}.tmp")
        try:
            write(temporary)
            os.replace(temporary, Path(self._path, name))
        finally:
            temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Yields a local file with the checkpoint's content.

        Raises:
            CheckpointFolderError: the checkpoint cannot be copied from its URI.
        """
        if self._near:
            yield Path(self._path, name)
            return
        with tempfile.TemporaryDirectory() as near:
            try:
                self._copy(self._path, near, name, here=False)
            except OSError as error:
                raise self._error("read from", error) from error
            yield Path(near, name)

    def keep(self, latest: int) -> None:
        """Removes all checkpoints but the latest ones; ignores errors, since an extra checkpoint does no harm."""
        with contextlib.suppress(OSError, CheckpointFolderError):
            names = self.names()
            for name in names[: max(0, len(names) - latest)]:
                self.remove(name)

    def remove(self, name: str) -> None:
        """Removes a file; ignores errors."""
        with contextlib.suppress(OSError):
            self._system.delete_file(f"{self._path}/{name}")

    def _error(self, what: str, error: Exception) -> CheckpointFolderError:
        return CheckpointFolderError(
            f"checkpoints cannot be {what} {self.place}: {error}. Nothing is lost: fix this and launch again to continue"
        )

    def _copy(self, source: str, target: str, name: str, *, here: bool) -> None:
        """Copies one file, to the URI (`here`) or back."""
        systems = [LocalFileSystem(), self._system][:: 1 if here else -1]
        copy_files(
            f"{source}/{name}",
            f"{target}/{name}",
            source_filesystem=systems[0],
            destination_filesystem=systems[1],
        )


def try_out(config: StudyConfig) -> None:
    """Writes and removes a test file if the study's checkpoints go to a URI.

    Raises:
        CheckpointFolderError: the file cannot be written.
    """
    if "://" in (place := checkpoint_place(config)):
        name = f".writable-{os.urandom(8).hex()}"
        folder = CheckpointFolder(place)
        folder.write(name, lambda path: path.touch())
        folder.remove(name)
