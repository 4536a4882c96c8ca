"""What header texts say of the part of the body and of a series' purpose; words as scanners and people write them."""

import re
from collections.abc import Iterable, Sequence
from enum import Enum, auto


class Part(Enum):
    """Which part of the body a header speaks of."""

    HEAD = auto()
    OTHER = auto()
    UNKNOWN = auto()


_HEAD = re.compile(
    r"\bhead|brain|skull|cerebr|cerebell|crani|neuro|hirn|kopf|schädel|hypophys|pituitar|\bsella|\borbit|temporal|"
    r"\btete|\btête|cerveau|cabeza|cerebro|\btesta\b|encefal|encephal|голов|мозг|череп|гипофиз|"
    r"\biac\b|\biams?\b|internal auditory",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"\bneck|spine|spinal|cervical|thorac|lumbar|lumbo|\bsacr|chest|thorax|\blung|\bheart|cardi|"
    r"\bcine\b|breast|mamm|abdom|\bliver|\blever\b|leber|hepat|pancrea|kidney|\brenal|spleen|pelvi|prostat|\buterus|"
    r"\buterine|bladder|rectum|\bhip\b|\bknee|\bknie|shoulder|schulter|elbow|wrist|\bhand\b|finger|ankle|\bfoot|\bfuss\b|\bleg\b|"
    r"\barm\b|femur|tibia|extremity|\bjoint|aorta|whole ?body|carotid|"
    r"позвон|шейн|груд|поясн|печен|почк|брюш|\bтаз\b|колен|плеч|сустав|сердц|простат|молочн",
    re.IGNORECASE,
)
_LOCALIZER = re.compile(
    r"(?<![a-z])(loc|locali[sz]er|locali[sz]ation|scout|survey|pilot|3[- ]?plane|topogram|plan scan|"
    r"smartbrain|aahscout)(?![a-z])|локал",
    re.IGNORECASE,
)
_DERIVED = re.compile(
    r"(?<![a-z0-9])(mips?|adc|fa(?! ?\d)|tracew?|r?cbf|r?cbv|mtt|ttp|tmax|colfa|q?t[12] ?map|qt[12])"
    r"(?![a-z0-9])|apparent diffusion|fractional aniso|projected|projection",
    re.IGNORECASE,
)
_DERIVED_TYPES = frozenset(
    {
        "PROJECTION IMAGE",
        "CSA MIP",
        "MIP",
        "MINIP",
        "ADC",
        "FA",
        "TRACEW",
        "TENSOR",
        "ASL",
        "CBF",
        "CBV",
        "MTT",
        "TTP",
        "T1 MAP",
        "T2 MAP",
        "T2_STAR MAP",
        "FIELD MAP",
        "SUBTRACTION",
        "PHASE MAP",
        "SCREEN SAVE",
        "CSA REPORT",
        "REPORT",
        "CSA RESAMPLED",
    }
)  # values of ImageType, from the third on


def of(descriptions: Iterable[str], body_part: str) -> Part:
    """Judge by BodyPartExamined first, then by the descriptions; a word for the head outweighs one for another part.

    A part that is named in words known to neither list is unknown, not another part: makers and hospitals write freely.
    """
    named = _judged(body_part)
    if named is not Part.UNKNOWN:
        return named
    return _judged(" ".join(descriptions))


def is_localizer(image_type: Sequence[str], description: str, protocol: str) -> bool:
    """Whether a series is a localizer, a projection or a computed map, which no network was trained for."""
    kinds = {kind.strip().upper() for kind in image_type[2:]}
    if "LOCALIZER" in kinds or kinds & _DERIVED_TYPES:
        return True
    if any(_LOCALIZER.search(words) for words in (description, protocol)):
        return True
    return bool(_DERIVED.search(description))


def _judged(words: str) -> Part:
    plain = words.replace("_", " ")
    if _HEAD.search(plain):
        return Part.HEAD
    return Part.OTHER if _OTHER.search(plain) else Part.UNKNOWN
