"""The store that a URL or the settings name."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.settings import Settings
from storage.objects import Objects, S3Options


def open_store(url: str, options: S3Options | None = None) -> Objects:
    """The store at `memory://`, `file:///folder` or `s3://bucket/prefix`. Raises `Broken` for any other URL.

    Each `memory://` is a new, empty store. The adapters are imported here, so that a folder needs no boto3.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory":
        from storage.memory import Memory

        return Memory()
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        from storage.folder import Folder

        return Folder(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        from storage.s3 import S3

        return S3(parts.netloc, unquote(parts.path).strip("/"), options or S3Options())
    raise Broken(Code.BAD_SETTING, "A store is memory://, file:///folder or s3://bucket/prefix.")


def s3_options(settings: Settings) -> S3Options:
    """How these settings reach S3."""
    secret, session = settings.s3_secret_key, settings.s3_session_token
    return S3Options(
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        path_style=settings.s3_path_style,
        access_key=settings.s3_access_key,
        secret_key=secret.get_secret_value() if secret else None,
        session_token=session.get_secret_value() if session else None,
        ca_bundle=settings.s3_ca_bundle,
    )


def open_configured(settings: Settings) -> Objects:
    """The store at `NEUROBATCH_STORE`. Raises `Broken(bad_setting)` for a URL that is none."""
    return open_store(settings.store_url, s3_options(settings))
