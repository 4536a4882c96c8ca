"""Every setting, typed, in one class: environment (`NEUROBATCH_…`), then a TOML file, then the default.

All faults are told together at start, each by key; secrets are hidden in repr and in `neurobatch settings`.
The TOML file is `NEUROBATCH_CONFIG`, else `neurobatch.toml` in the data folder, if it is there.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from neurobatch.codes import Code
from neurobatch.errors import Broken

PREFIX = "NEUROBATCH_"
MIB = 1 << 20


def data_home() -> Path:
    """The data folder's default: `$XDG_DATA_HOME/neurobatch`, else `~/.local/share/neurobatch`."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "neurobatch"


class Settings(BaseSettings):
    """What an operator can set. Read once by the function that wires a process."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, env_ignore_empty=True, validate_default=True
    )

    home: Annotated[Path, Field(description="data folder: embedded store, broker, engines' caches")] = Field(
        default_factory=data_home
    )
    tenant: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="tenant of this process")] = "local"

    # where things are kept
    store: Annotated[
        str | None,
        Field(description="object store: file:///folder or s3://bucket/prefix; default: a folder in home"),
    ] = None
    s3_endpoint: Annotated[str | None, Field(description="S3 endpoint URL; default: Amazon's")] = None
    s3_region: Annotated[str, Field(description="S3 region")] = "us-east-1"
    s3_path_style: Annotated[bool, Field(description="address buckets by path, as most own servers need")] = True
    s3_access_key: Annotated[str | None, Field(description="S3 access key; default: boto3's own chain")] = None
    s3_secret_key: Annotated[SecretStr | None, Field(description="S3 secret key")] = None
    s3_session_token: Annotated[SecretStr | None, Field(description="S3 session token")] = None
    s3_ca_bundle: Annotated[Path | None, Field(description="CA certificates for the S3 endpoint")] = None
    broker: Annotated[
        str | None,
        Field(description="Redis URL (redis://, rediss://, redis+socket://); default: an embedded Valkey"),
    ] = None
    roots: Annotated[
        dict[str, str],
        NoDecode,
        Field(description="folders and bucket prefixes that requests may name: name=/folder,name=s3://bucket/prefix"),
    ] = {}

    # serving
    host: Annotated[str, Field(description="address the API binds to")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port of the API; 0: any free one")] = 8700
    tokens: Annotated[
        dict[str, SecretStr], NoDecode, Field(description="tokens by tenant: tenant=token,tenant=token")
    ] = {}
    upload_limit: Annotated[int, Field(ge=1, description="bytes that one submission may upload")] = 64 * 1024 * MIB
    upload_files_limit: Annotated[int, Field(ge=1, description="files that one submission may upload")] = 1_000_000
    link_secret: Annotated[
        SecretStr | None, Field(description="secret that signs download links; default: made once in home")
    ] = None

    # working
    engine: Annotated[
        Literal["auto", "openvino", "tensorflow", "timed"], Field(description="what runs the networks")
    ] = "auto"
    engines: Annotated[
        Path | None, Field(description="folder of networks as engines want them; default: engines in home")
    ] = None
    precision: Annotated[
        Literal["auto", "float32", "mixed", "bfloat16"],
        Field(description="precision of the networks where a batch names none; mixed: classifiers in bfloat16, "
              "outlines in float32; auto: mixed on OpenVINO where the processor multiplies bfloat16, else float32"),
    ] = "auto"  # fmt: skip
    threshold: Annotated[
        float | None,
        Field(ge=0, le=1, description="the site's own threshold: probability from which a scan is positive where a "
              "batch names none; results say so; default: each network's own, as its card says"),
    ] = None  # fmt: skip
    reuse: Annotated[
        bool,
        Field(description="take over the result of an earlier scan of the tenant whose pixels, networks and options "
              "are the same"),
    ] = True  # fmt: skip
    decoders: Annotated[int | None, Field(ge=1, le=256, description="decoder processes; default: one a core")] = None
    device_batch: Annotated[
        int | None, Field(ge=1, le=1024, description="slices a network call; default: 4 on processors, 16 on a GPU")
    ] = None
    arena: Annotated[int, Field(ge=16 * MIB, description="bytes of shared memory for prepared slices")] = 256 * MIB
    decoder_memory: Annotated[int, Field(ge=64 * MIB, description="bytes one decoder may use")] = 4096 * MIB
    network_memory: Annotated[int, Field(ge=256 * MIB, description="bytes the network process may use")] = 8192 * MIB
    scan_seconds: Annotated[float, Field(gt=0, description="seconds one scan may take to decode")] = 120.0
    lease_seconds: Annotated[float, Field(ge=1, description="seconds a shard's lease lasts unrenewed")] = 15.0
    recover_seconds: Annotated[float, Field(ge=0.1, description="seconds between two looks for lost work")] = 10.0
    expires_days: Annotated[int | None, Field(ge=1, description="days after which a batch is deleted")] = None
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="how much is logged")] = "info"

    @field_validator("roots", "tokens", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if any(not sign or not key.strip() or not text.strip() for key, sign, text in pairs):
            raise ValueError("must be name=value,name=value")
        return {key.strip(): text.strip() for key, _, text in pairs}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the TOML file."""
        home = Path(os.environ.get(f"{PREFIX}HOME") or data_home())
        file = Path(os.environ.get(f"{PREFIX}CONFIG") or home / "neurobatch.toml")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)

    @property
    def engines_folder(self) -> Path:
        """Where networks lie as engines want them, the default filled in."""
        return self.engines or self.home / "engines"

    @property
    def store_url(self) -> str:
        """Where the store is, the default filled in."""
        return self.store or (self.home.absolute() / "store").as_uri()


def load_settings(**overrides: object) -> Settings:
    """Read all settings once.

    Raises:
        Broken: `bad_setting`, naming every key at fault; values are not repeated, since some are secret.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic checks what comes from outside
    except ValidationError as error:
        faults = "; ".join(
            f"{PREFIX}{str(fault['loc'][0] if fault['loc'] else '').upper()}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise Broken(Code.BAD_SETTING, faults) from None
    except (OSError, ValueError) as error:
        raise Broken(Code.BAD_SETTING, f"the settings file could not be read: {type(error).__name__}") from None


def origin(name: str, settings: Settings) -> str:
    """Whence a setting's value came: `environment`, `file or argument`, or `default`."""
    if os.environ.get(f"{PREFIX}{name.upper()}"):
        return "environment"
    return "file or argument" if name in settings.model_fields_set else "default"
