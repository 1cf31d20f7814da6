"""Where checkpoints are: a folder or a URI (s3://, gs://, abfs://, hdfs://).

Checkpoints are written and read as files; where the place is no file system of this machine they go through a temporary one.
PyArrow, which Ray uses too, knows the places and takes their credentials from the environment.
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
    """The place cannot be written to, or not be read from: the disk is full, the bucket is away. Every trial would meet it."""


class CheckpointFolder:
    """A trial's checkpoints.

    Args:
        place: a path, or a URI: s3://, gs://, abfs://, hdfs://, file://, with PyArrow's options after a question mark.

    Raises:
        CheckpointFolderError: a URI that PyArrow does not know.
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
        """Names of the checkpoints, the oldest first.

        Raises:
            CheckpointFolderError: they cannot be listed.
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
        """Writes a checkpoint whole, or leaves what is there as it is.

        Args:
            name: of the file.
            write: writes it to a path.

        Returns:
            Its own path or URI.

        Raises:
            CheckpointFolderError: it cannot be written.
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
            # safetensors says in words only what the system has refused
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
        """A file with what a checkpoint holds, for as long as it is read.

        Raises:
            CheckpointFolderError: it is elsewhere, and does not come.
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

    def remove(self, name: str) -> None:
        """Removes a checkpoint, if it can; one more than needed does no harm."""
        with contextlib.suppress(OSError):
            self._system.delete_file(f"{self._path}/{name}")

    def _error(self, what: str, error: Exception) -> CheckpointFolderError:
        return CheckpointFolderError(
            f"checkpoints cannot be {what} {self.place}: {error}. Nothing is lost: see to it, and launch again to go on"
        )

    def _copy(self, source: str, target: str, name: str, *, here: bool) -> None:
        """One file, from here to there or back."""
        systems = [LocalFileSystem(), self._system][:: 1 if here else -1]
        copy_files(
            f"{source}/{name}",
            f"{target}/{name}",
            source_filesystem=systems[0],
            destination_filesystem=systems[1],
        )


def try_out(config: StudyConfig) -> None:
    """Writes a file where the study's checkpoints are elsewhere, and removes it.

    Raises:
        CheckpointFolderError: it cannot be written.
    """
    if "://" in (place := checkpoint_place(config)):
        name = f".writable-{os.urandom(8).hex()}"
        folder = CheckpointFolder(place)
        folder.write(name, lambda path: path.touch())
        folder.remove(name)
