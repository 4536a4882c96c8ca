"""Pages that are written from the code, so that they cannot drift: codes, settings, limits, the API's document, the
README's figures.

`python docs/pages.py` writes them; `--check` (part of `make check`) names those that are stale.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import NoneType
from typing import Any, Literal, cast, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from api.app import build_app
from api.services import Services
from docs import speed
from docs.figures import filled
from neurobatch import codes
from neurobatch.codes import DISCLAIMER, Code
from neurobatch.settings import PREFIX, Settings
from pipeline import limits

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
MADE = "<!-- made by `python docs/pages.py` from the code; do not edit -->"
CODES = f"""# Codes
{MADE}

Programs branch on a code, so none is ever renamed. The status is that of a request that ends with the code.
"""
SETTINGS = f"""# Settings
{MADE}

Each is an environment variable or, in lower case and without `{PREFIX}`, a key of the TOML file that
`{PREFIX}CONFIG` names (else of `neurobatch.toml` in the data folder). `neurobatch settings` prints what is in
force and whence it came. A wrong value stops the start; all faults are told together.

| variable | what it is | value | default |
|---|---|---|---|
"""
LIMITS = f"""# Limits
{MADE}

What is beyond a limit is refused with a code, never read in part; nothing else of the batch is lost. What one
submission may upload and how long a scan may take are [settings](settings.md).

| limit | value | of what |
|---|---|---|
"""
LIMIT = re.compile(r"^    (\w+): \w+ = .+?(?:  # (.+))?$", re.MULTILINE)
DECLARED = re.compile(r"^    # -- (.+?) -+$|^    ([A-Z0-9_]+) = ", re.MULTILINE)
WORDS: dict[Any, str] = {
    bool: "true or false",
    float: "number",
    int: "whole number",
    Path: "path",
    SecretStr: "secret",
    str: "text",
}


def codes_page() -> str:
    """All codes under the headings of `codes.py`, each with its sentence and HTTP status."""
    lines = [CODES]
    last = ""
    for section, code in _declared():
        if section != last:
            lines.append(f"\n## {section[0].upper()}{section[1:]}\n\n| code | sentence | status |\n|---|---|---|\n")
            last = section
        lines.append(f"| `{code}` | {code.sentence} | {code.status} |\n")
    return "".join([*lines, "\n", DISCLAIMER, "\n"])


def _declared() -> Iterator[tuple[str, Code]]:
    section = "other"
    for heading, name in DECLARED.findall(Path(codes.__file__).read_text()):
        section = heading or section
        if name in Code.__members__:
            yield section, Code[name]


def settings_page() -> str:
    """All settings: environment variable, what it is for, kind of value and default."""
    return SETTINGS + "".join(_row(name, field) for name, field in Settings.model_fields.items())


def _row(name: str, field: FieldInfo) -> str:
    what = (field.description or "").replace("|", "\\|")
    return f"| `{PREFIX}{name.upper()}` | {what} | {_kind(field.annotation)} | {_default(field)} |\n"


def _kind(annotation: Any) -> str:
    if annotation in WORDS:
        return WORDS[annotation]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is dict:
        return f"name={WORDS[get_args(annotation)[1]]}, …"
    return _kind(next(part for part in get_args(annotation) if part is not NoneType))


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None or field.default in (None, {}):
        return ""
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def limits_page() -> str:
    """All bounds on what is read, with their defaults."""
    told = dict(LIMIT.findall(Path(limits.__file__).read_text()))
    return LIMITS + "".join(
        f"| {name.replace('_', ' ')} | {_amount(name, value)} | {told[name]} |\n"
        for name, value in asdict(limits.Limits()).items()
    )


def _amount(name: str, value: int) -> str:
    for unit, size in (("GiB", limits.GIB), ("MiB", limits.MIB), ("KiB", limits.KIB)):
        if value >= size and value % size == 0 and not name.endswith(("pixels", "voxels")):
            return f"{value // size} {unit}"
    return f"{value:,}"


def openapi_document() -> str:
    """What a server gives at `/openapi.json`, for those who have none at hand; it is the same over any services."""
    app = build_app(cast(Services, None))
    with app.app_context():
        return json.dumps(app.spec, indent=2, ensure_ascii=False) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "codes.md": codes_page,
    "settings.md": settings_page,
    "limits.md": limits_page,
    "schemas/openapi.json": openapi_document,
}


def pages() -> Iterator[tuple[Path, str]]:
    """Where each page stands and what it should say; the README is kept but for its figures."""
    for name, page in PAGES.items():
        yield HERE / name, page()
    yield README, speed.filled(filled(README.read_text()))


def stale() -> list[str]:
    """The names of the pages that are not what the code says."""
    return [path.name for path, text in pages() if not path.exists() or path.read_text() != text]


def main(arguments: list[str]) -> int:
    """Write all pages, or with `--check` name those that are stale."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python docs/pages.py [--check]\n")
        return 2
    if not arguments:
        for path, text in list(pages()):
            path.write_text(text)
    found = stale()
    sys.stderr.writelines(f"{name} is stale: run `python docs/pages.py`\n" for name in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
