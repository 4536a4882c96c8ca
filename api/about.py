"""What this installation is and whether it works: models, codes, health, readiness."""

from apiflask import APIBlueprint
from flask import Response, request

from api.answers import answer, fresh
from api.services import services
from api.shapes import CodeList, CodeView, Health, ModelList, ModelView, Readiness
from models.registry import networks
from neurobatch.codes import DISCLAIMER, Code
from neurobatch.version import VERSION

about = APIBlueprint("about", __name__, tag="about")


@about.get("/v1/models")
@about.output(ModelList)
@about.doc(operation_id="list_models")
def models() -> Response:
    """List the networks: digests, profiles, thresholds, and their cards"""
    items = tuple(
        ModelView(
            name=network.name,
            kind=network.kind,
            sha256=network.sha256,
            profile=network.profile,
            size=network.size,
            threshold=network.threshold,
            review_low=network.review_low,
            review_high=network.review_high,
            channels=network.channels,
            licence=network.licence,
            card=network.card.read_text(encoding="utf-8") if network.card.is_file() else "",
        )
        for network in networks().values()
    )
    return fresh(request, ModelList(items=items, disclaimer=DISCLAIMER))


@about.get("/v1/codes")
@about.output(CodeList)
@about.doc(operation_id="list_codes")
def codes() -> Response:
    """List all stable codes and what they mean"""
    items = tuple(CodeView(code=code, sentence=code.sentence, status=code.status) for code in Code)
    return fresh(request, CodeList(items=items, disclaimer=DISCLAIMER))


@about.get("/healthz")
@about.output(Health)
@about.doc(operation_id="health", security=[])
def health() -> Response:
    """Whether this process answers"""
    return answer(Health(version=VERSION))


@about.get("/readyz")
@about.output(Readiness)
@about.doc(operation_id="readiness", security=[], responses={200: "Batches would be worked on now.", 503: "Not now."})
def ready() -> Response:
    """Whether batches would be worked on now: store, broker, and a worker that is alive"""
    found = services().readiness.look()
    return answer(found, 200 if found.ready else 503)
