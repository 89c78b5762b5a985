"""Weights of classifiers and detectors, ours and published, strictly into a backbone."""

import pytest
import torch

from smt_nas.errors import ConfigError
from smt_nas.models import build, to_official
from smt_nas.tasks.backbone_weights import load_backbone
from smt_nas.tasks.task_network import build_task
from tests.fakes.weights import TINY


def build_body(seed=0):
    return build(TINY, features_only=True, generator=torch.Generator().manual_seed(seed))


def classifier():
    return build(TINY, generator=torch.Generator().manual_seed(1))


def published_detector(source):
    """As mmdet saves one: other names of the attention's convolution, and the heads' beside it."""
    state = {
        f"backbone.{name.replace('.attn.local_conv.', '.attn.dw_conv.')}": value
        for name, value in to_official(source).items()
        if not name.startswith("head.")
    }
    assert any(".dw_conv." in name for name in state)
    state["neck.fpn_convs.0.conv.weight"] = torch.ones(2, 2)
    state["roi_head.bbox_head.fc_cls.bias"] = torch.ones(2)
    return {"meta": {"epoch": 12}, "state_dict": state, "optimizer": {"param_groups": []}}


def assert_taken(body, source):
    own, given = body.state_dict(), source.state_dict()
    assert all(torch.equal(own[name], given[name]) for name in own)


def test_a_published_classifier():
    source, body = classifier(), build_body()
    taken = load_backbone(body, {"model": to_official(source), "epoch": 299}, "smt.pth")
    assert_taken(body, source)
    assert taken.left == {"head": 2}
    assert taken.describe() == (
        f"all {taken.taken} tensors of the backbone are taken under model, by published names; "
        "left: 2 of head."
    )


def test_a_published_detector_with_its_own_names():
    source, body = classifier(), build_body()
    taken = load_backbone(body, published_detector(source), "mask_rcnn.pth")
    assert_taken(body, source)
    assert taken.left == {"neck": 1, "roi_head": 1}
    assert taken.label == "state_dict.backbone"


def test_maps_are_those_of_the_classifier():
    """The norm that ends a stage is part of its map."""
    source, body = classifier().eval(), build_body().eval()
    load_backbone(body, to_official(source), "smt.pth")
    images = torch.randn(1, 3, 45, 70, generator=torch.Generator().manual_seed(2))
    last = body(images)[-1]
    torch.testing.assert_close(last, source.forward_features(images).permute(0, 3, 1, 2))


@pytest.mark.parametrize("head", ["upernet", None])
def test_our_own_networks(head):
    generator = torch.Generator().manual_seed(1)
    source = classifier() if head is None else build_task(TINY, head, generator=generator)
    body = build_body()
    taken = load_backbone(body, {"model": source.state_dict()}, "last.pt")
    assert_taken(body, source if head is None else source.backbone)
    assert set(taken.left) == ({"head"} if head is None else {"decode_head", "auxiliary_head"})
    assert taken.names == "our"


def _drop(state, word):
    return {name: value for name, value in state.items() if word not in name}


BROKEN = {
    "a convolution is missing": (
        lambda state: _drop(state, "block3.1.attn.local_conv."),
        r"2 missing: block3\.1\.attn\.local_conv",
    ),
    "a name is not known": (
        lambda state: state | {"block1.0.attn.mystery.weight": torch.ones(1)},
        r"1 unexpected: block1\.0\.attn\.mystery\.weight",
    ),
    "both names of one convolution": (
        lambda state: state | {"block3.1.attn.dw_conv.bias": torch.ones(8)},
        r"1 unexpected: block3\.1\.attn\.dw_conv\.bias",
    ),
    "another shape": (
        lambda state: state | {"norm1.weight": torch.ones(9)},
        r"norm1\.weight is \(9,\), not \(8,\)",
    ),
    "no network": (lambda state: {"w": torch.ones(1)}, r"must hold the weights of one SMT"),
    "two networks": (
        lambda state: {"a": dict(state), "b": dict(state)},
        r"must hold the weights of one SMT \(got a, b\)",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_does_not_fit_is_refused_and_changes_nothing(what):
    change, message = BROKEN[what]
    body = build_body()
    before = {name: value.clone() for name, value in body.state_dict().items()}
    with pytest.raises(ConfigError, match=rf"^x\.pth: .*{message}"):
        load_backbone(body, change(to_official(classifier())), "x.pth")
    assert all(torch.equal(body.state_dict()[name], before[name]) for name in before)


def test_our_own_weights_of_another_network_are_refused():
    state = dict(classifier().state_dict())
    state["stages.9.norm.weight"] = state.pop("stages.1.norm.weight")
    state["stages.0.norm.bias"] = torch.ones(9)
    message = r"1 missing: stages\.1\.norm\.weight; 1 not known: stages\.9.*; 1 of another shape"
    with pytest.raises(ConfigError, match=message):
        load_backbone(build_body(), state, "x.pt")
