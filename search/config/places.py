"""Where a study keeps things: databases, MLflow, checkpoints; and URLs as they may be shown.

A place is a path or a URI. Nothing is opened here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from search.config.study_config import StudyConfig
from search.errors import Problem


def without_passwords(text: str, *urls: str) -> str:
    """Text with the passwords of all URLs in it replaced, and those of `urls` wherever they stand."""
    text = re.sub(r"(://[^\s:/@]*):[^\s/]*@", r"\1:***@", text)
    for url in urls:
        secret = urlsplit(url).password
        for form in {secret, unquote(secret)} if secret else ():
            text = text.replace(form, "***")
    return text


def password_hint(text: str) -> str:
    """What to do about a database's error, if it is about its password or its driver; else nothing."""
    if "password" in text and ("authentication failed" in text or "no password supplied" in text):
        return " Set PGPASSWORD, or PGPASSFILE, to the password of that user."
    if "No module named 'psycopg" in text:
        return " Install the driver: pip install 'promptfront[postgres]'."
    return ""


_PORTS = {"sqlite": None, "postgresql": 5432, "mysql": 3306}  # of databases that both can have


def mlflow_uri(config: StudyConfig) -> str:
    """Where MLflow keeps the study: the study file's, else MLFLOW_TRACKING_URI, else SQLite in output_dir."""
    return config.tracking.mlflow_uri or default_mlflow_uri(config.output_dir)


def default_mlflow_uri(output_dir: Path) -> str:
    """Where MLflow keeps studies that do not say: MLFLOW_TRACKING_URI, else SQLite in output_dir."""
    database = (output_dir / "mlflow.db").absolute().as_posix()
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database}"


def mlflow_problems(config: StudyConfig) -> list[Problem]:
    """Why MLflow cannot keep the study where `mlflow_uri` says: Optuna is there, and both call a table alembic_version."""
    storage, address = config.storage_url, mlflow_uri(config)
    if address.partition(":")[0].partition("+")[0] not in _PORTS or _database(storage) != _database(address):
        return []
    given = "" if config.tracking.mlflow_uri else "is not given, and MLFLOW_TRACKING_URI "
    text = "must be another database than tracking.storage: Optuna and MLflow have a table of the same name; both are"
    return [Problem("tracking.mlflow_uri", f"{given}{text} {without_passwords(storage, storage)}")]


def _database(url: str) -> tuple[object, ...]:
    """The same for all ways to write the same database: user, password, driver and options do not matter."""
    from sqlalchemy import make_url  # slow to import

    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return (backend, Path(parsed.database or "").absolute())
    host = parsed.host or parsed.query.get("host") or "localhost"
    return (backend, host, parsed.port or _PORTS[backend], parsed.database or parsed.username)


def is_server(address: str) -> bool:
    """Whether it is a tracking server, and not a database."""
    return address.startswith(("http://", "https://"))


def checkpoint_place(config: StudyConfig, *names: str) -> str:
    """The path, absolute, or the URI of a study's checkpoints; with names, of what is inside."""
    kept = config.tracking.checkpoints
    if kept is None:
        return under(str(config.folder.absolute() / "checkpoints"), *names)
    kept = kept.removeprefix("file://")
    return under(kept if "://" in kept else str(Path(kept).expanduser().absolute()), config.study, *names)


def under(place: str, *names: str) -> str:
    """The path or URI of what is in a place; a URI's options stay at its end."""
    if "://" not in place:
        return str(Path(place, *names))
    parts = urlsplit(place)
    return urlunsplit(parts._replace(path="/".join([parts.path.rstrip("/"), *names])))
