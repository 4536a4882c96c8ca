"""What the tests know of an S3 server that they started."""

import uuid
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

from storage.objects import S3Options


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """Where a server listens, and who may use it."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)

    def options(self, **changes: Any) -> S3Options:
        """The options with which `storage` reaches this server."""
        options = S3Options(
            endpoint=self.endpoint, access_key=self.access_key, secret_key=self.secret_key, region="us-east-1"
        )
        return replace(options, **changes)

    def client(self) -> Any:
        """A plain boto3 client, for what only tests do (buckets)."""
        config = Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            connect_timeout=2,
            read_timeout=30,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=config,
        )

    def bucket(self) -> str:
        """Make a fresh bucket and return its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name


def answers(server: S3Server) -> bool:
    """Whether the server takes an object and gives it back: listening is not enough."""
    try:
        client = server.client()
        client.create_bucket(Bucket="readiness")
        client.put_object(Bucket="readiness", Key="one", Body=b"1")
        return bool(client.get_object(Bucket="readiness", Key="one")["Body"].read() == b"1")
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
        return False
