"""The places of a study's MLflow runs and checkpoints, and database URLs without passwords.

A place is a path or a URI. This module opens none of them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from search.config.study_config import StudyConfig
from search.errors import Problem


def without_passwords(text: str, *urls: str) -> str:
    """Replaces the passwords of all URLs in a text, and those of `urls` wherever they appear."""
    text = re.sub(r"(://[^\s:/@]*):[^\s/]*@", r"\1:***@", text)
    for url in urls:
        secret = urlsplit(url).password
        for form in {secret, unquote(secret)} if secret else ():
            text = text.replace(form, "***")
    return text


def password_hint(text: str) -> str:
    """Advice for a database error about a password or a missing driver; else an empty text."""
    if "password" in text and ("authentication failed" in text or "no password supplied" in text):
        return " Set PGPASSWORD to that user's password, or PGPASSFILE to a file with it."
    if "No module named 'psycopg" in text:
        return " Install the driver: pip install 'promptfront[postgres]'."
    return ""


_PORTS = {"sqlite": None, "postgresql": 5432, "mysql": 3306}  # databases that both Optuna and MLflow support


def mlflow_uri(config: StudyConfig) -> str:
    """The MLflow store of a study: from the study file, else MLFLOW_TRACKING_URI, else SQLite in output_dir."""
    return config.tracking.mlflow_uri or default_mlflow_uri(config.output_dir)


def default_mlflow_uri(output_dir: Path) -> str:
    """The default MLflow store: MLFLOW_TRACKING_URI, else SQLite in output_dir."""
    database = (output_dir / "mlflow.db").absolute().as_posix()
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database}"


def mlflow_problems(config: StudyConfig) -> list[Problem]:
    """Finds an MLflow store in Optuna's database; they cannot share one, as both have a table alembic_version."""
    storage, address = config.storage_url, mlflow_uri(config)
    if address.partition(":")[0].partition("+")[0] not in _PORTS or _database(storage) != _database(address):
        return []
    given = "" if config.tracking.mlflow_uri else "is not set, and MLFLOW_TRACKING_URI "
    text = "must be another database than tracking.storage, because Optuna and MLflow have a table of the same name; both are"
    return [Problem("tracking.mlflow_uri", f"{given}{text} {without_passwords(storage, storage)}")]


def _database(url: str) -> tuple[object, ...]:
    """Identifies a database, whatever the URL's user, password, driver and options."""
    from sqlalchemy import make_url  # slow to import

    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return (backend, Path(parsed.database or "").absolute())
    host = parsed.host or parsed.query.get("host") or "localhost"
    return (backend, host, parsed.port or _PORTS[backend], parsed.database or parsed.username)


def is_server(address: str) -> bool:
    """Whether an address is a tracking server, not a database."""
    return address.startswith(("http://", "https://"))


def checkpoint_place(config: StudyConfig, *names: str) -> str:
    """The absolute path or URI of a study's checkpoints, or of something inside if names are given."""
    kept = config.tracking.checkpoints
    if kept is None:
        return under(str(config.folder.absolute() / "checkpoints"), *names)
    kept = kept.removeprefix("file://")
    return under(kept if "://" in kept else str(Path(kept).expanduser().absolute()), config.study, *names)


def under(place: str, *names: str) -> str:
    """Joins names to a path or URI; a URI's options stay at its end."""
    if "://" not in place:
        return str(Path(place, *names))
    parts = urlsplit(place)
    return urlunsplit(parts._replace(path="/".join([parts.path.rstrip("/"), *names])))
