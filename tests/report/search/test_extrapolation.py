"""Members that lie outside what was trained, or all at an edge of the space."""

from dataclasses import dataclass

from smt_nas.arch import Architecture, load_arch
from smt_nas.report.search.extrapolation import edge_notes, outside_document, outside_notes
from tests.fakes.searches import SPACE, sample


@dataclass
class Member:
    """A network with a name is all that these notes look at."""

    name: str
    arch: Architecture


SMT_L = Member("0", load_arch("smt_l"))


def members(genes):
    return [Member(str(i), arch) for i, arch in enumerate(SPACE.decode(genes))]


def test_a_network_far_from_the_bench_is_named_with_its_features():
    short, *others = [note.short for note in outside_notes([SMT_L])]
    assert short == "Outside the evidence, so in more doubt: 1 of 1 member." and not any(others)
    notes = [note.text for note in outside_notes([SMT_L])]
    assert notes[0].startswith("Outside the evidence (smt-bench-mini trained no network like it): ")
    assert "1 of 1 member, in" in notes[0] and any(
        "bench " in x and ": 0 (" in x for x in notes[1:]
    )
    features = outside_document(SMT_L)["outside"]
    widths = [f["widths"] for f in features]
    assert widths and widths == sorted(widths, reverse=True)
    assert len(notes) <= 8  # the worst six, and how many more


def test_many_members_are_counted_rather_than_listed():
    notes = [x.text for x in outside_notes([Member(str(i), SMT_L.arch) for i in range(12)])]
    assert "12 of 12 members" in notes[0] and notes[1].endswith(" and 4 others")
    nine = outside_notes([Member(str(i), SMT_L.arch) for i in range(9)])
    assert nine[1].text.endswith(" and 1 other")


def test_nothing_is_said_where_all_lie_inside():
    inside = [m for m in members(sample(200)) if not outside_document(m)["outside"]]
    assert inside and outside_notes(inside) == []


def test_an_option_at_whose_edge_all_members_lie_is_told():
    genes = sample(8)
    named = [g.name for g in SPACE.genes]
    at = next(i for i, name in enumerate(named) if "depth" in name and SPACE.cardinality[i] > 1)
    genes[:, at] = 0
    (note,) = edge_notes(SPACE, members(genes))
    assert note.text.startswith("At an edge of the space in all 8 members: ")
    assert note.short.startswith("At an edge of the space in all 8: ")
    assert "depth of stage" in note.text and "depth of stage" in note.short
    assert edge_notes(SPACE, members(genes[:4])) == []  # too few to tell
    assert edge_notes(SPACE, members(sample(200))) == []
