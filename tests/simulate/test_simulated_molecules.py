import pytest

from trimer.chemistry.identifiers import canonical_smiles, murcko_scaffold, parse
from trimer.errors import ConfigError
from trimer.simulate import simulated_molecules as molecules
from trimer.simulate.simulated_molecules import simulated_molecules


def test_molecules_are_distinct_canonical_and_connected():
    smiles_list = simulated_molecules(200)
    assert len(set(smiles_list)) == 200
    assert all(canonical_smiles(smiles) == smiles for smiles in smiles_list)
    assert not any("." in smiles for smiles in smiles_list)
    assert len({murcko_scaffold(parse(smiles)) for smiles in smiles_list}) > 80


def test_the_same_seed_gives_the_same_records_and_a_smaller_count_a_prefix():
    assert simulated_molecules(30, seed=1) == simulated_molecules(60, seed=1)[:30]
    assert simulated_molecules(30, seed=1) != simulated_molecules(30, seed=2)


def test_more_molecules_than_exist_raise_an_error(monkeypatch):
    for parts, left in (
        ("SCAFFOLDS", ("c1ccccc1{}",)),
        ("SUBSTITUENTS", ("C",)),
        ("RINGS", ("C1CC1",)),
        ("LINKERS", ("O{}",)),
    ):
        monkeypatch.setattr(molecules, parts, left)
    with pytest.raises(ConfigError, match="no 5 distinct molecules, only 2"):
        simulated_molecules(5)
