from kinema.networks.toy_transformer import ToyTransformer
from kinema.systems.toy_video import tiny
from kinema.weights import manifests
from kinema.weights.maps.toy_transformer import OFFICIAL


def test_the_network_is_the_recorded_one():
    network = ToyTransformer(tiny().transformer, device="meta")
    manifests.check(network, manifests.read("63-toy-transformer"), OFFICIAL, beside={})
