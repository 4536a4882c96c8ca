"""How `storage.s3` reaches a server, and the one place where botocore's errors become ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import boto3
import botocore.exceptions as boto
from botocore.config import Config
from urllib3.exceptions import HTTPError

from neurobatch.codes import Code
from neurobatch.errors import Broken, Missing, NeurobatchError, Unavailable
from storage.objects import S3Options

PASSING = (409, 412, 429)  # statuses of answers that may be others a moment later
FULL = ("QuotaExceeded", "InsufficientStorage", "XMinioStorageFull")
KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired")
UNSENDABLE = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.NoRegionError,
    boto.ParamValidationError,
    boto.UnsupportedSignatureVersionError,
)


def connect(options: S3Options, endpoint: str | None) -> Any:
    """A client, which may be used by many threads. Nothing is sent yet. Raises `Broken` for a bad option."""
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if options.path_style else "virtual"},
        retries={"mode": "standard", "total_max_attempts": options.attempts},
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
        max_pool_connections=options.connections,
        tcp_keepalive=True,
        # Servers other than Amazon's refuse or keep the checksums that boto3 would add unasked.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        session = boto3.session.Session(
            aws_access_key_id=options.access_key,
            aws_secret_access_key=options.secret_key,
            aws_session_token=options.session_token,
            region_name=options.region,
        )
        verify = str(options.ca_bundle) if options.ca_bundle else None
        return session.client("s3", endpoint_url=endpoint, config=config, verify=verify)
    except (ValueError, boto.BotoCoreError) as fault:
        raise Broken(Code.BAD_SETTING, "The S3 endpoint, region or CA bundle is not well formed.") from fault


def status_of(fault: boto.ClientError) -> int:
    """The HTTP status of an answer."""
    return int(fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(fault: boto.ClientError) -> str:
    """The server's code of an answer; the status where it had no body (HEAD)."""
    return str(fault.response.get("Error", {}).get("Code", ""))


@contextmanager
def translated(*known: int) -> Iterator[None]:
    """Turn botocore's errors into ours; answers of a status that the caller knows pass as `ClientError`."""
    try:
        yield
    except boto.ClientError as fault:
        if status_of(fault) in known:
            raise
        raise _translate(code_of(fault), status_of(fault)) from fault
    except boto.SSLError as fault:
        raise Broken(Code.BAD_SETTING, "The S3 server's certificate is not trusted (CA bundle).") from fault
    except UNSENDABLE as fault:
        raise Broken(Code.BAD_SETTING, "The S3 access key, secret key or region is missing.") from fault
    except (boto.BotoCoreError, HTTPError) as fault:
        raise Unavailable(Code.STORE_UNAVAILABLE, type(fault).__name__) from fault


def translate_deletion(code: str) -> NoReturn:
    """Raise what one name's failure in a deletion of many means."""
    raise _translate(code, 403 if code == "AccessDenied" else 500)


def _translate(code: str, status: int) -> NeurobatchError:
    if code == "NoSuchBucket":
        return Broken(Code.BAD_SETTING, "The store's bucket does not exist.")
    if code in FULL or status == 507:
        return Unavailable(Code.STORE_FULL)
    if status == 404:
        return Missing(Code.NOT_FOUND)
    if code in KEYS:
        return Broken(Code.BAD_SETTING, f"The S3 server refuses the access key, secret or token: {code}.")
    if code == "RequestTimeTooSkewed":
        return Broken(Code.BAD_SETTING, "This machine's clock and the S3 server's differ too much.")
    if status in (401, 403):
        return Broken(Code.BAD_SETTING, "The S3 access key may not do this in the store's bucket.")
    if (status >= 500 and status != 501) or status in PASSING or code in ("RequestTimeout", "SlowDown"):
        return Unavailable(Code.STORE_UNAVAILABLE, f"It answered {status} {code}.")
    return Broken(Code.INTERNAL, f"The S3 server answered {status} {code}.")
