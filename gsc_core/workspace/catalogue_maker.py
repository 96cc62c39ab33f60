"""Makes the list of what the app offers of the engine: in a process that may load torch."""

from gsc_core.classifier.weights import architectures
from gsc_core.detectors.catalogue import CATALOGUE, facts_of
from gsc_core.workspace.catalogue import Catalogue, made_of


def make_catalogue() -> Catalogue:
    """Every detector, and the usual preprocessing of every architecture."""
    return Catalogue(
        made_of=made_of(),
        detectors=tuple(map(facts_of, CATALOGUE)),
        architectures={
            name: architectures.usual_preprocessing(name) for name in architectures.names()
        },
    )
