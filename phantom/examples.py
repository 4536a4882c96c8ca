"""The example scans of the project: a dozen phantoms, as they lie in the folder `examples/`."""

from phantom.catalogue import Kind, Made, Order, make, table
from phantom.lesions import LesionKind
from phantom.sequences import Look


def _picture(name: str, seed: int, look: Look, lesion: LesionKind | None = None, *, deep: bool = False) -> Order:
    return Order(name=name, seed=seed, kind=Kind.PICTURE, look=look, lesion=lesion or False, size=256, deep=deep)


ORDERS: tuple[Order, ...] = (
    _picture("flair_healthy.png", 202, Look.FLAIR),
    _picture("flair_glioma.png", 200, Look.FLAIR, LesionKind.GLIOMA),
    _picture("composite_healthy.png", 306, Look.COMPOSITE),
    _picture("composite_glioma.png", 213, Look.COMPOSITE, LesionKind.GLIOMA),
    _picture("flair_healthy_16bit.png", 406, Look.FLAIR, deep=True),
    _picture("t1ce_glioblastoma_16bit.png", 221, Look.T1CE, LesionKind.GLIOBLASTOMA, deep=True),
    _picture("t2_healthy.jpg", 108, Look.T2),
    _picture("t1ce_meningioma.jpg", 222, Look.T1CE, LesionKind.MENINGIOMA),
    _picture("t1_healthy.tif", 110, Look.T1),
    _picture("flair_glioblastoma.tif", 224, Look.FLAIR, LesionKind.GLIOBLASTOMA),
    Order(
        name="dicom_flair_glioma", seed=231, kind=Kind.DICOM, look=Look.FLAIR,
        lesion=LesionKind.GLIOMA, size=160,
    ),
    Order(
        name="nifti_flair_healthy.nii.gz", seed=239, kind=Kind.NIFTI, look=Look.FLAIR, lesion=False, size=160,
    ),
)  # fmt: skip

EXPECTED = "expected.csv"


def files() -> dict[str, bytes]:
    """Path below `examples/` and content of every example, and the table of what should be found."""
    made = [make(order) for order in ORDERS]
    written = {name: content for each in made for name, content in each.files.items()}
    return {**written, EXPECTED: table(("path", "finding", "about"), [_row(each) for each in made])}


def _row(made: Made) -> tuple[str, str, str]:
    order = made.order
    lesion = str(made.lesion) if made.lesion else "healthy head"
    return order.name, made.finding, f"{order.kind}, {order.look}, {lesion}"
