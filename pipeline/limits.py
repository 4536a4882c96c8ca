"""What the pipeline will take in: every bound on hostile or merely huge input, in one frozen record."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on one file, scan or archive. Beyond them a file is refused with a code, never read in part.

    The defaults let through the largest clinical scans that are met (a 512 x 512 x 1024 volume, a 100 megapixel
    picture, a study archive of 64 GiB) and keep one decoder under about 4 GiB.
    """

    picture_pixels: int = 100_000_000  # px of one picture, whatever its depth
    min_side: int = 16  # px, the shorter side of a plane; below it nothing is left of a head
    max_side: int = 65_535  # px, the longer side of a plane
    volume_voxels: int = 512 * 512 * 1024  # of one volume or multi-frame file, all frames together
    file_bytes: int = 2 * GIB  # one file or member, after gunzip or inflate too
    header_bytes: int = 32 * MIB  # how far into a file its header is looked for
    series_files: int = 20_000  # of one series
    volumes_per_series: int = 4  # up to here each is a scan of its own; beyond, only the first is read
    archive_members: int = 1_000_000
    archive_bytes: int = 64 * GIB  # all members together, after decompression
    archive_ratio: int = 200  # bytes out for each byte in, once `archive_slack` came out
    archive_slack: int = 256 * MIB  # blank volumes truly shrink a thousandfold, so small archives may
    archive_name_bytes: int = 64 * KIB  # of one member's name or extended header
