"""The store that settings name."""

from neurobatch.settings import Settings
from storage.objects import Objects, S3Options, open_store


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
