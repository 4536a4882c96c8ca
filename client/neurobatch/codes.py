"""Every stable code, declared once with the sentence that a person reads and its HTTP status.

A code is part of the interface: programs branch on it, so it is never renamed. Results, left-out lists, API
problems (RFC 9457), console, docs and the command line all take sentence and status from here.
"""

from enum import StrEnum
from typing import NamedTuple

DISCLAIMER = (
    "neurobatch supports research and triage. It is not an approved medical device; "
    "a qualified person must read every scan."
)


class Meaning(NamedTuple):
    """What a code says to a person, and the HTTP status it has when a request ends with it."""

    sentence: str
    status: int


class Code(StrEnum):
    """Stable codes of errors, failed scans, left-out files and warnings; grouped by where they arise."""

    meaning: Meaning

    def __new__(cls, value: str, sentence: str = "", status: int = 422) -> "Code":
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = Meaning(sentence, status)
        return member

    @property
    def sentence(self) -> str:
        """The sentence that a person reads."""
        return self.meaning.sentence

    @property
    def status(self) -> int:
        """The HTTP status of a request that ends with this code."""
        return self.meaning.status

    # -- requests ------------------------------------------------------------------------------------------
    BAD_REQUEST = "bad_request", "The request is not well formed.", 400
    INVALID_FIELD = "invalid_field", "A field has a value that is not allowed.", 422
    NO_SOURCES = "no_sources", "The batch names nothing to read: send files, or name objects or paths.", 422
    NO_SET = "no_set", "There is no set of labelled pictures here.", 422
    BAD_TABLE = "bad_table", "A table cannot be used as it is.", 422
    NOT_FOUND = "not_found", "There is no such thing here.", 404
    METHOD_NOT_ALLOWED = "method_not_allowed", "This address does not answer to that method.", 405
    NOT_ACCEPTABLE = "not_acceptable", "None of the asked-for media types can be given.", 406
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", "The request's media type is not understood.", 415
    TOO_LARGE = "too_large", "The upload is larger than the limit.", 413
    TOO_MANY_FILES = "too_many_files", "The upload has more files than the limit.", 413
    UNAUTHORISED = "unauthorised", "A valid token is needed.", 401
    FORBIDDEN = "forbidden", "This token may not do that.", 403
    OUTSIDE_ROOTS = "outside_roots", "The path or bucket is not below an allowed root.", 403
    IDEMPOTENCY_CONFLICT = ("idempotency_conflict", "The Idempotency-Key was used for another request.", 409)
    NOT_FINISHED = "not_finished", "The batch is not finished yet, so there is no such result.", 409
    ALREADY_FINISHED = "already_finished", "The batch is finished; this can no longer be done.", 409
    GONE = "gone", "The batch was deleted.", 410
    RATE_LIMITED = "rate_limited", "Too many requests; try again later.", 429
    INTERNAL = "internal", "Something went wrong inside neurobatch; the log has the details.", 500
    STORE_UNAVAILABLE = "store_unavailable", "The object store does not answer.", 503
    BROKER_UNAVAILABLE = "broker_unavailable", "The broker (Redis) does not answer.", 503
    SERVER_UNAVAILABLE = "server_unavailable", "The server does not answer.", 503
    STORE_FULL = "store_full", "The object store has no room left.", 507

    # -- configuration -------------------------------------------------------------------------------------
    BAD_SETTING = "bad_setting", "A setting has a value that is not allowed.", 500
    STORE_NOT_CONDITIONAL = (
        "store_not_conditional",
        "The object store lets two writers of one name both win; it cannot be used.",
        500,
    )
    BIND_WITHOUT_TOKEN = (
        "bind_without_token",
        "Serving beyond loopback needs a token (NEUROBATCH_TOKENS).",
        500,
    )
    FOLDER_IN_USE = "folder_in_use", "Another neurobatch command is running on this data folder.", 409
    NO_ENGINE = "no_engine", "The engine that was asked for cannot run on this machine.", 500
    WEIGHTS_DAMAGED = "weights_damaged", "A network's weight file is missing or its digest is wrong.", 500

    # -- batches -------------------------------------------------------------------------------------------
    NO_SCANS = "no_scans", "No scan was found in what was handed over.", 200
    PLANNING_FAILED = "planning_failed", "The batch could not be planned.", 500
    NEVER_HANDED_OVER = "never_handed_over", "The upload was never finished.", 410
    DUPLICATE_SCANS = "duplicate_scans", "Some scans have the same content as others in this batch.", 200

    # -- files that are in no scan (left-out) --------------------------------------------------------------
    NOT_A_SCAN = "not_a_scan", "The file is of a kind that holds no scan."
    EMPTY_FILE = "empty_file", "The file has no bytes."
    HIDDEN_FILE = "hidden_file", "The file belongs to an operating system, not to the archive of scans."
    UNREADABLE = "unreadable", "The file could not be read."
    UNSAFE_NAME = "unsafe_name", "The member's name leads outside of its archive."
    UNSAFE_LINK = "unsafe_link", "The member is a link or a special file."
    ARCHIVE_DAMAGED = "archive_damaged", "The archive is damaged or cut short."
    ARCHIVE_ENCRYPTED = "archive_encrypted", "The archive is protected by a password."
    ARCHIVE_NESTED = "archive_nested", "An archive within an archive is not opened."
    ARCHIVE_TOO_LARGE = (
        "archive_too_large",
        "The archive holds more than the limit allows, or expands too far.",
    )
    UNSUPPORTED_ARCHIVE = "unsupported_archive", "This kind of archive is not supported."
    NOT_MR = "not_mr", "The image is not from magnetic resonance."
    NOT_HEAD = "not_head", "The image is of another part of the body."
    LOCALIZER = "localizer", "The series is a localizer or a derived picture."
    DICOMDIR = "dicomdir", "The file is a directory of DICOM files; the files themselves are read."
    NO_PIXELS = "no_pixels", "The DICOM file holds no pixels."
    NOT_A_VOLUME = "not_a_volume", "The volume is a time series or a map, not one scan."
    PAIR_OF_FILES = (
        "pair_of_files",
        "The volume is split into a header and an image file; save it as one .nii file.",
    )
    DUPLICATE_INSTANCE = (
        "duplicate_instance",
        "The same DICOM image was handed over more than once; one is read.",
    )
    SERIES_TOO_LARGE = "series_too_large", "The series has more files than the limit."
    OTHER_VOLUME = "other_volume", "The series holds many volumes of the same slices; only the first is read."

    # -- scans that failed ---------------------------------------------------------------------------------
    DAMAGED = "damaged", "The file is damaged and could not be decoded."
    TRUNCATED = "truncated", "The file is cut short."
    UNSUPPORTED_SYNTAX = "unsupported_syntax", "The DICOM transfer syntax is not supported."
    UNSUPPORTED_TYPE = "unsupported_type", "The pixel or data type is not supported."
    TOO_MANY_PIXELS = "too_many_pixels", "The picture has more pixels than the limit."
    TOO_SMALL = "too_small", "The picture is too small to hold a head."
    SERIES_INCONSISTENT = "series_inconsistent", "The files of the series do not form one volume."
    MOSAIC = "mosaic", "The file is a mosaic of slices, which is not taken apart."
    SOURCE_CHANGED = "source_changed", "The file changed after the batch was planned."
    SOURCE_MISSING = "source_missing", "The file is no longer where it was."
    CRASHED = "crashed", "Reading or judging this scan killed its process."
    TIMED_OUT = "timed_out", "Reading or judging this scan took longer than the limit."
    OUT_OF_MEMORY = "out_of_memory", "The scan needs more memory than a worker may use."

    # -- warnings on a result ------------------------------------------------------------------------------
    SPACING_UNKNOWN = "spacing_unknown", "The pixel spacing is not known, so extents are in pixels only.", 200
    SPACING_UNEVEN = "spacing_uneven", "The slices are not evenly spaced.", 200
    SLICES_MISSING = "slices_missing", "Slices seem to be missing from the series.", 200
    ORIENTATION_UNKNOWN = "orientation_unknown", "The orientation of the volume is not known.", 200
    BODY_PART_UNKNOWN = "body_part_unknown", "The file does not say which part of the body it shows.", 200
    BURNED_IN_TEXT = "burned_in_text", "The picture may have text burned into it.", 200
    FORCED_PROFILE = "forced_profile", "The slices were prepared otherwise than the network was trained.", 200
    SITE_THRESHOLD = "site_threshold", "The finding was made at the site's own threshold, not at the card's.", 200
    FIRST_PAGE_ONLY = "first_page_only", "Only the first picture of a file with several was read.", 200
    FIRST_VOLUME_ONLY = (
        "first_volume_only",
        "The series holds many volumes of the same slices; only the first was read.",
        200,
    )
    PHANTOM = "phantom", "The scan says that it is a phantom.", 200

    # -- reasons for review --------------------------------------------------------------------------------
    BLANK = "blank", "Every slice is empty, so there is nothing to judge.", 200
    UNLIKE_TRAINING = (
        "unlike_training",
        "It looks unlike the MR pictures of heads that the networks were trained with.",
        200,
    )
    PROBABILITY_IN_BAND = "probability_in_band", "The probability is too close to the threshold.", 200
    CLASSIFIERS_DISAGREE = "classifiers_disagree", "The two classifiers disagree.", 200
    MASK_DISAGREES = "mask_disagrees", "The classifier and the segmentation disagree.", 200
