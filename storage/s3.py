"""Any S3 server as a store: Amazon's, SeaweedFS, Ceph and the like.

Written once is `If-None-Match: *` on a single PutObject. Each such put carries a nonce in its metadata:
boto3 asks again by itself when a reply is lost, and a 412 on an object with one's own nonce is a win. It is
never put in parts, since not every server (Ceph 16) heeds the condition when parts are completed.
"""

import random
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import islice
from pathlib import Path
from time import sleep
from typing import Any, BinaryIO, cast
from urllib.parse import quote

import botocore.exceptions as boto

from neurobatch.codes import Code
from neurobatch.errors import Broken, Missing, NeurobatchError, Refused, Unavailable
from storage.objects import (
    CHUNK,
    OCTETS,
    Body,
    Objects,
    S3Options,
    Stored,
    check_name,
    check_readable,
    chunks_of,
)
from storage.s3_client import code_of, connect, status_of, translate_deletion, translated

LARGEST_PUT = 5 << 30  # bytes; S3's limit for one PutObject and one CopyObject
WHOLE = 64 << 20  # bytes; a larger file is put in parts, a smaller one at once
PART = 8 << 20  # bytes; at least 5 MiB, and what is held in memory of a stream
PARTS_A_STEP = 1000  # parts after which a part grows by PART: 10,000 parts then hold 430 GiB
PAGE = 1000  # names that one request can delete
CONFLICT_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # seconds between tries after a 409, times 0.5 to 1.5


class S3:
    """Objects below `prefix` of one bucket."""

    def __init__(self, bucket: str, prefix: str, options: S3Options) -> None:
        self._bucket = bucket
        self._above = f"{prefix}/" if prefix else ""
        self._options = options
        self._client = connect(options, options.endpoint)
        self._links = connect(options, options.public_endpoint) if options.public_endpoint else self._client

    def __repr__(self) -> str:
        return f"S3({self._bucket!r}, {self._above!r}, {self._options!r})"

    def create(self, name: str, body: Body, *, content_type: str = OCTETS) -> bool:
        at = self._at(check_name(name))
        nonce = uuid.uuid4().hex
        with _seekable(body) as content:
            for wait in (*CONFLICT_WAITS, None):
                content.seek(0)
                try:
                    with translated(409, 412):
                        self._client.put_object(
                            **at,
                            Body=content,
                            ContentType=content_type,
                            IfNoneMatch="*",
                            Metadata={"nonce": nonce},
                        )
                    return True
                except Broken as fault:
                    raise _not_conditional(fault) from fault.__cause__
                except boto.ClientError as fault:
                    if status_of(fault) == 412:
                        return self._nonce(at) == nonce
                    if wait is not None:
                        sleep(wait * random.uniform(0.5, 1.5))
        raise Unavailable(Code.STORE_UNAVAILABLE, "Another writer of the same name did not come to an end.")

    def put(self, name: str, body: Body, *, content_type: str = OCTETS) -> Stored:
        at = self._at(check_name(name))
        if isinstance(body, Path) and body.stat().st_size <= WHOLE:
            with body.open("rb") as file:
                return self._put(name, file, body.stat().st_size, content_type)
        if isinstance(body, bytes):
            return self._put(name, body, len(body), content_type)
        parts = _parts(body)
        first = next(parts, b"")
        second = next(parts, None)
        if second is None:
            return self._put(name, first, len(first), content_type)
        self._put_parts(at, _chained(first, second, parts), content_type)
        return self._stored(name)

    def get(self, name: str) -> bytes:
        return b"".join(self.read(name))

    def read(self, name: str, *, start: int = 0, length: int | None = None, chunk: int = CHUNK) -> Iterator[bytes]:
        at = self._at(check_readable(name))
        if length == 0:
            self._stored(name)
            return iter(())
        reply = self._get(at, start, None if length is None else start + length)
        return iter(()) if reply is None else self._blocks(at, reply, start, chunk)

    def head(self, name: str) -> Stored | None:
        try:
            return self._stored(name)
        except Missing:
            return None

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        if after and not after.startswith(prefix):
            if after > prefix:
                return iter(())
            after = ""
        return self._pages({"StartAfter": self._above + after} if after else {}, prefix)

    def delete(self, names: Iterable[str]) -> None:
        every = iter(names)
        while page := [{"Key": self._above + check_readable(name)} for name in islice(every, PAGE)]:
            with translated():
                reply = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": page, "Quiet": True})
            for fault in reply.get("Errors", []):
                translate_deletion(fault.get("Code", ""))

    def copy_from(self, source: Objects, name: str, to: str) -> Stored | None:
        if not isinstance(source, S3) or source._options != self._options:
            return None
        found = source._stored(name)
        if found.size > LARGEST_PUT:
            return None
        with translated():
            self._client.copy_object(
                **self._at(check_name(to)),
                CopySource={"Bucket": source._bucket, "Key": source._above + name},
                CopySourceIfMatch=f'"{found.etag}"',
            )
        return self._stored(to)

    def link(self, name: str, *, seconds: int, filename: str) -> str | None:
        """A presigned URL. The file's name stands in it: give it none that tells of a patient."""
        disposition = f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
        with translated():
            url: str = self._links.generate_presigned_url(
                "get_object",
                Params={**self._at(check_readable(name)), "ResponseContentDisposition": disposition},
                ExpiresIn=seconds,
            )
        return url

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._above + name}

    def _nonce(self, at: dict[str, str]) -> str | None:
        """The nonce of the put that won; None where the object has gone since, or came otherwise."""
        try:
            with translated():
                found: dict[str, str] = self._client.head_object(**at)["Metadata"]
            return found.get("nonce")
        except Missing:
            return None

    def _stored(self, name: str) -> Stored:
        with translated():
            found = self._client.head_object(**self._at(check_readable(name)))
        return Stored(
            name=name,
            size=found["ContentLength"],
            etag=found["ETag"].strip('"'),
            modified=found["LastModified"].astimezone(UTC),
        )

    def _put(self, name: str, body: bytes | BinaryIO, size: int, content_type: str) -> Stored:
        with translated():
            reply = self._client.put_object(**self._at(name), Body=body, ContentType=content_type)
        date = reply["ResponseMetadata"]["HTTPHeaders"].get("date")
        modified = parsedate_to_datetime(date).astimezone(UTC) if date else datetime.now(UTC)
        return Stored(name=name, size=size, etag=reply["ETag"].strip('"'), modified=modified)

    def _put_parts(self, at: dict[str, str], parts: Iterator[bytes], content_type: str) -> None:
        with translated():
            upload = self._client.create_multipart_upload(**at, ContentType=content_type)
        at = {**at, "UploadId": upload["UploadId"]}
        try:
            done: list[dict[str, Any]] = []
            for number, part in enumerate(parts, start=1):
                with translated():
                    reply = self._client.upload_part(**at, PartNumber=number, Body=part)
                done.append({"PartNumber": number, "ETag": reply["ETag"]})
            with translated():
                self._client.complete_multipart_upload(**at, MultipartUpload={"Parts": done})
        except BaseException:
            with suppress(NeurobatchError), translated():
                self._client.abort_multipart_upload(**at)
            raise

    def _get(self, at: dict[str, str], start: int, end: int | None, etag: str | None = None) -> Any:
        """Open a stream from `start` to before `end`; None where the object ends before it."""
        wanted = dict[str, str](at)
        if start or end is not None:
            wanted["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        if etag is not None:
            wanted["IfMatch"] = etag
        try:
            with translated(412, 416):
                return self._client.get_object(**wanted)
        except boto.ClientError as fault:
            if status_of(fault) == 416 and etag is None:
                return None
            raise Unavailable(Code.STORE_UNAVAILABLE, "The object was replaced while it was read.") from fault

    def _blocks(self, at: dict[str, str], reply: Any, start: int, chunk: int) -> Iterator[bytes]:
        end = start + reply["ContentLength"]
        etag, body, cuts = reply["ETag"], reply["Body"], 0
        try:
            while start < end:
                try:
                    with translated():
                        block = body.read(min(chunk, end - start))
                    if not block:
                        raise Unavailable(Code.STORE_UNAVAILABLE, "The stream ended early.")
                except Unavailable:
                    body.close()
                    cuts += 1
                    if cuts >= self._options.attempts:
                        raise
                    sleep(CONFLICT_WAITS[min(cuts, len(CONFLICT_WAITS)) - 1])
                    body = self._get(at, start, end, etag)["Body"]  # never None: the object reached further
                    continue
                start, cuts = start + len(block), 0
                yield block
        finally:
            body.close()

    def _pages(self, asked: dict[str, str], prefix: str) -> Iterator[Stored]:
        asked |= {"Bucket": self._bucket, "Prefix": self._above + prefix}
        while True:
            with translated():
                page = self._client.list_objects_v2(**asked)
            for found in page.get("Contents", []):
                # Consoles make folders visible by an empty object whose name ends with a slash.
                if not found["Key"].endswith("/"):
                    yield Stored(
                        name=found["Key"][len(self._above) :],
                        size=found["Size"],
                        etag=found["ETag"].strip('"'),
                        modified=found["LastModified"].astimezone(UTC),
                    )
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]


def _not_conditional(fault: Broken) -> Broken:
    """A server that does not know the condition says 501 (or so); tell that plainly."""
    if isinstance(fault.__cause__, boto.ClientError) and code_of(fault.__cause__) == "NotImplemented":
        return Broken(Code.STORE_NOT_CONDITIONAL, "It does not know If-None-Match.")
    return fault


@contextmanager
def _seekable(body: Body) -> Iterator[BinaryIO]:
    """The body as a file that can be sent again; a stream goes over a temporary file when it is long."""
    if isinstance(body, Path):
        with body.open("rb") as file:
            _check_size(file)
            yield file
        return
    with tempfile.SpooledTemporaryFile(max_size=PART) as spool:
        for block in chunks_of(body):
            spool.write(block)
        _check_size(cast(BinaryIO, spool))
        yield cast(BinaryIO, spool)


def _check_size(file: BinaryIO) -> None:
    if file.seek(0, 2) > LARGEST_PUT:
        raise Refused(Code.TOO_LARGE, "What is written once on S3 may have at most 5 GiB.")


def _parts(body: Body) -> Iterator[bytes]:
    """The body in parts: all but the last of PART bytes, growing so that 10,000 of them suffice."""
    count, held = 0, bytearray()
    for block in chunks_of(body):
        held += block
        while len(held) >= (size := PART * (1 + count // PARTS_A_STEP)):
            yield bytes(held[:size])
            del held[:size]
            count += 1
    if held:
        yield bytes(held)


def _chained(first: bytes, second: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield second
    yield from rest
