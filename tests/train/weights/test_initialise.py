"""Weights to start from: what is taken, what is told, and what is refused without a trace."""

from pathlib import Path

import pytest
import torch

from smt_nas.arch import Stem
from smt_nas.errors import TrainingError
from smt_nas.models import build, from_official, to_official
from smt_nas.train.weights.initialise import initialise_model, read_head_map
from smt_nas.train.weights.weights import LoadedWeights
from tests.fakes.weights import TINY, card


def changed(**fields):
    return TINY.model_copy(update=fields)


def deeper(depth):
    third = TINY.stages[2].model_copy(update={"depth": depth})
    return changed(stages=(*TINY.stages[:2], third, TINY.stages[3]))


def lively(arch, seed):
    """A network whose every number differs from those of another seed."""
    net = build(arch, generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1, generator=generator)
            else:
                tensor.fill_(seed)
    return net


def loaded(arch, seed=1, **changes):
    state = {k: v.clone() for k, v in lively(arch, seed).state_dict().items()}
    return LoadedWeights(
        **({"card": None, "state": state, "source": Path("w"), "official": False} | changes)
    )


def copies(net):
    return {k: v.clone() for k, v in net.state_dict().items()}


def taken(net, before, given):
    """Names that hold what was given, after a check that all others hold what they held."""
    now = net.state_dict()
    found = {k for k in now if k in given.state and torch.equal(now[k], given.state[k])}
    assert all(torch.equal(now[k], before[k]) for k in now.keys() - found)
    return found


def test_a_full_match_is_taken_without_a_word():
    net, given = lively(TINY, 0), loaded(TINY)
    before = copies(net)
    for shared in (False, True):
        assert initialise_model(net, given, None, shared) == []
    assert taken(net, before, given) == before.keys()


def test_published_weights_are_taken():
    net, theirs = lively(TINY, 0), lively(TINY, 1)
    state, unknown = from_official(to_official(theirs))
    given = LoadedWeights(None, state, Path("smt.pth"), True, tuple(unknown))
    assert initialise_model(net, given, None, False) == []
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net.eval()(x), theirs.eval()(x))


def test_weights_in_half_precision_are_taken_in_the_network_s():
    net, given = lively(TINY, 0), loaded(TINY)
    half = {k: v.half() if v.is_floating_point() else v for k, v in given.state.items()}
    initialise_model(net, loaded(TINY, state=half), None, False)
    assert net.head.weight.dtype == torch.float32
    assert torch.equal(net.head.weight, half["head.weight"].float())


@pytest.mark.parametrize("size", [64, 224])
def test_another_image_size_is_the_same_network(size):
    assert (
        initialise_model(
            lively(changed(image_size=size, drop_path=0.3), 0), loaded(TINY), None, False
        )
        == []
    )


def test_another_kernel_of_the_ffn_starts_fresh_and_is_named():
    first = TINY.stages[0].model_copy(update={"ffn_kernel": 5})
    net, given = lively(changed(stages=(first, *TINY.stages[1:])), 0), loaded(TINY)
    before = copies(net)
    with pytest.raises(TrainingError, match=r"ffn\.dwconv\.weight .*--init-shared"):
        initialise_model(net, given, None, False)
    lines = initialise_model(net, given, None, True)
    dwconv = "stages.0.blocks.0.ffn.dwconv"
    assert before.keys() - taken(net, before, given) == {f"{dwconv}.weight", f"{dwconv}.bias"}
    assert any("of another shape, which start fresh" in line and dwconv in line for line in lines)


@pytest.mark.parametrize("shared", [False, True])
def test_a_head_of_other_classes_is_left_out(shared):
    net, given = lively(TINY, 0), loaded(changed(num_classes=7))
    before = copies(net)
    (line,) = initialise_model(net, given, None, shared)
    assert "its head of 7 classes is left out, as the network has 3" in line and line[:3] == "w: "
    assert before.keys() - taken(net, before, given) == {"head.weight", "head.bias"}


def test_weights_without_a_head_leave_it_fresh():
    given = loaded(TINY)
    headless = {k: v for k, v in given.state.items() if not k.startswith("head.")}
    (line,) = initialise_model(lively(TINY, 0), loaded(TINY, state=headless), None, False)
    assert "has no head; the network's starts fresh" in line


def test_a_network_without_a_head_takes_the_rest():
    net = lively(TINY, 0)
    net.reset_classifier(0)
    (line,) = initialise_model(net, loaded(TINY), None, False)
    assert "its head is left out, as the network has none" in line


def test_layer_scales_that_are_missing_stay_as_they_start():
    net = build(changed(layer_scale=0.01), generator=torch.Generator().manual_seed(0))
    (line,) = initialise_model(net, loaded(TINY), None, False)
    assert "has no layer scales for stages.0.blocks.0.scale1.gamma" in line
    assert "and 6 more; they start at 0.01" in line
    assert net.stages[0].blocks[0].scale1.gamma.tolist() == pytest.approx([0.01] * 8)
    assert torch.equal(net.head.weight, loaded(TINY).state["head.weight"])


def test_layer_scales_that_are_too_many_are_refused():
    net, given = lively(TINY, 0), loaded(changed(layer_scale=0.01))
    before = copies(net)
    with pytest.raises(TrainingError, match=r"10 unexpected: .*gamma.*--set layer_scale=1e-4"):
        initialise_model(net, given, None, False)
    assert taken(net, before, loaded(TINY, 9)) == set()
    (line,) = initialise_model(net, given, None, True)
    assert "has 10 that the network has no place for: stages.0.blocks.0.scale1.gamma" in line


WIDER = changed(stages=tuple(s.model_copy(update={"dim": 16}) for s in TINY.stages), num_classes=3)


@pytest.mark.parametrize(
    ("arch", "told"),
    [
        (deeper(4), r"unexpected: stages\.2\.blocks\.2\..*--init-shared"),
        (deeper(1), r"missing: stages\.2\.blocks\.1\..*--init-shared"),
        (
            changed(stem=Stem(kernel=7)),
            r"1 of another shape: stages\.0\.embed\.conv1\.weight is \(8, 3, 7, 7\)",
        ),
        (changed(in_channels=1), r"conv1\.weight is \(8, 1, 3, 3\), not \(8, 3, 3, 3\)"),
        (WIDER, r"nothing in common; name weights of a network with these widths"),
    ],
    ids=["deeper", "shallower", "stem", "channels", "wider"],
)
def test_another_network_is_refused_and_changes_nothing(arch, told):
    net, given = lively(TINY, 0), loaded(arch)
    before = copies(net)
    with pytest.raises(TrainingError, match=told) as error:
        initialise_model(net, given, None, False)
    assert str(error.value).startswith(f"w: must hold the weights of this network, {TINY.key}")
    assert "\n" not in str(error.value) and len(str(error.value)) < 900
    assert taken(net, before, loaded(TINY, 9)) == set()


def test_both_networks_are_named_where_they_are_known():
    other = deeper(4)
    with pytest.raises(TrainingError, match=f"{TINY.key}.*another, {other.key},"):
        initialise_model(lively(TINY, 0), loaded(other, card=card(arch=other)), None, False)


def test_names_of_no_network_of_ours_are_refused():
    with pytest.raises(TrainingError, match=r"2 not of the family: a\.b, c"):
        initialise_model(lively(TINY, 0), loaded(TINY, unknown=("a.b", "c")), None, False)
    (line,) = initialise_model(lively(TINY, 0), loaded(TINY, unknown=("a.b", "c")), None, True)
    assert "has 2 that the network has no place for: a.b, c" in line


def blocks(names, stage):
    return {int(n.split(".")[3]) for n in names if n.startswith(f"stages.{stage}.blocks.")}


@pytest.mark.parametrize(
    ("ours", "theirs", "common"), [(2, 4, 2), (6, 4, 4)], ids=["larger", "smaller"]
)
def test_shared_blocks_are_taken_from_another_depth(ours, theirs, common):
    net, given = lively(deeper(ours), 0), loaded(deeper(theirs))
    before = copies(net)
    lines = initialise_model(net, given, None, True)
    found = taken(net, before, given)
    assert blocks(found, 2) == set(range(common))
    assert {k for k in before if "stages.2.blocks." not in k} <= found
    told = "".join(lines)
    if ours > theirs:
        assert "of the network, which start fresh: stages.2.blocks.4." in told
        assert f"{len(found)} of {len(before)} tensors of the network are from it" in told
    else:
        assert "that the network has no place for: stages.2.blocks.2." in told


def test_a_module_is_taken_whole_or_not():
    third = TINY.stages[2].model_copy(update={"dim": 16})
    other = changed(stages=(*TINY.stages[:2], third, TINY.stages[3]))
    net, given = lively(TINY, 0), loaded(other)
    before = copies(net)
    lines = initialise_model(net, given, None, True)
    found = taken(net, before, given)
    assert not blocks(found, 2)  # not even counters of batch norms, which have no width
    assert blocks(found, 0) == blocks(found, 1) == blocks(found, 3) == {0}
    assert "stages.3.embed.conv.bias" not in found  # of the same shape, but its weight is not
    assert any("of another shape, which start fresh: stages.2.embed" in line for line in lines)


def test_nothing_in_common_is_refused():
    net, given = lively(TINY, 0), loaded(WIDER)
    before = copies(net)
    with pytest.raises(TrainingError, match="nothing in common"):
        initialise_model(net, given, None, True)
    assert taken(net, before, loaded(TINY, 9)) == set()


def test_a_head_of_other_features_is_another_network():
    given = loaded(TINY)
    given.state["head.weight"] = torch.ones(3, 9)
    with pytest.raises(TrainingError, match=r"head\.weight is \(3, 9\), not \(3, 8\)"):
        initialise_model(lively(TINY, 0), given, None, False)


@pytest.mark.parametrize(
    "text",
    ["6\n0\n2\n", "6 0\t2", "[6, 0, 2]", "[\n 6,\n 0,\n 2\n]\n", "6,0,2,", "\r\n6\r\n0\r\n2"],
)
def test_rows_of_a_larger_head_are_picked(text, tmp_path):
    (tmp_path / "map.txt").write_text(text)
    net, given = lively(TINY, 0), loaded(changed(num_classes=7))
    assert initialise_model(net, given, tmp_path / "map.txt", False) == []
    for name in ("head.weight", "head.bias"):
        assert torch.equal(net.state_dict()[name], given.state[name][[6, 0, 2]])


def test_a_map_of_the_published_size_is_read(tmp_path):
    rows = [(i * 7919) % 21_841 for i in range(1000)]
    (tmp_path / "map.txt").write_text("\n".join(map(str, rows)))
    assert read_head_map(tmp_path / "map.txt", 21_841, 1000) == rows


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("6\n0\n", r"one number for each class \(got 2 for 3 classes\)"),
        ("", r"got 0 for 3 classes"),
        ("1 2 3 4", r"got 4 for 3 classes"),
        ("0 7 1", r"entry 2 must be a row of the head, 0 to 6 \(got '7'\)"),
        ("0 -1 1", r"entry 2 must be .* \(got '-1'\)"),
        ("0 1.0 2", r"entry 2 must be .* \(got '1\.0'\)"),
        ("n01440764 tench", r"entry 1 must be .* \(got 'n01440764'\)"),
        ('{"0": 1}', r"entry 1 must be"),
        ("0 1 ٣", r"entry 3 must be"),
        ("0 1 " + "9" * 5000, r"entry 3 must be"),
        (b"\xff\xfe0", "must be text"),
    ],
)
def test_a_bad_head_map_is_told_and_changes_nothing(text, told, tmp_path):
    (tmp_path / "map.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    net, given = lively(TINY, 0), loaded(changed(num_classes=7))
    before = copies(net)
    with pytest.raises(TrainingError, match=rf"--head-map .*{told}") as error:
        initialise_model(net, given, tmp_path / "map.txt", False)
    assert len(str(error.value)) < 400
    assert taken(net, before, loaded(TINY, 9)) == set()


def test_a_head_map_needs_a_file_and_heads(tmp_path):
    net, given = lively(TINY, 0), loaded(TINY)
    with pytest.raises(TrainingError, match=r"cannot be read \(No such file"):
        initialise_model(net, given, tmp_path / "map.txt", False)
    (tmp_path / "map.txt").write_text("0 1 2")
    headless = {k: v for k, v in given.state.items() if not k.startswith("head.")}
    with pytest.raises(TrainingError, match="got none in w"):
        initialise_model(net, loaded(TINY, state=headless), tmp_path / "map.txt", False)
    net.reset_classifier(0)
    with pytest.raises(TrainingError, match="got none in the network"):
        initialise_model(net, given, tmp_path / "map.txt", False)
