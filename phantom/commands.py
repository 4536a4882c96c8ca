"""The command `neurobatch phantom`: folders of phantom scans for trials, tests and load.

What it needs is imported when it runs, so that `neurobatch --help` stays quick.
"""

import os
from pathlib import Path

import click

KINDS = ("picture", "dicom", "nifti")
LOOKS = ("t1", "t1ce", "flair", "t2", "pd", "composite")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", type=click.IntRange(min=1), default=10, show_default=True, help="How many scans.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=1, show_default=True, help="Same seed, same scans.")
@click.option(
    "--kind",
    type=click.Choice([*KINDS, "mixed"]),
    default="picture",
    show_default=True,
)
@click.option("--lesions", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="The share with a tumour.")
@click.option(
    "--sequence", type=click.Choice([*LOOKS, "mixed"]), default="mixed",
    show_default=True,
    help="What the pictures show; composite: T1, FLAIR and T1 after contrast as red, green and blue.",
)  # fmt: skip
@click.option("--size", type=click.IntRange(64, 1024), default=256, show_default=True, help="Rows and columns.")
@click.option("--slices", type=click.IntRange(3, 30), default=20, show_default=True, help="Slices of a volume.")
@click.option("--examples", is_flag=True, help="Make the example scans of this project instead.")
@click.option("--truth", is_flag=True, help="Also write truth.csv and the lesions' masks, into FOLDER/truth.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="cores", help="Processes."
)
def phantom(
    folder: Path, count: int, seed: int, kind: str, lesions: float, sequence: str, size: int, slices: int,
    examples: bool, truth: bool, jobs: int,
) -> None:  # fmt: skip
    """Make phantoms of head MR scans in FOLDER: simulated heads, no patients."""
    from phantom import catalogue
    from phantom import examples as example_scans
    from phantom.catalogue import Kind
    from phantom.making import make_all
    from phantom.sequences import Look

    if examples:
        catalogue.write(folder, example_scans.files())
        click.echo(f"{len(example_scans.ORDERS)} example scans in {click.format_filename(folder)}.")
        return
    wanted = catalogue.orders(
        count=count,
        seed=seed,
        kind=None if kind == "mixed" else Kind(kind),
        lesions=lesions,
        look=None if sequence == "mixed" else Look(sequence),
        size=size,
        slices=slices,
    )
    rows, ill = [], 0
    for made in make_all(wanted, min(jobs, count)):
        catalogue.write(folder, made.files)
        if truth:
            masks = made.masks()
            catalogue.write(folder / "truth", masks)
            rows.append(catalogue.truth_row(made, *masks))
        ill += made.lesion is not None
    if truth:
        catalogue.write(folder / "truth", {"truth.csv": catalogue.table(catalogue.TRUTH_COLUMNS, rows)})
    click.echo(f"{count} phantoms in {click.format_filename(folder)}, {ill} of them with a tumour.")
