import pytest

from trimer.errors import ConfigError
from trimer.tokenizers.vocabulary import BOS, EOS, MASK, PAD, UNK, Vocabulary


def test_special_tokens_have_the_ids_of_bart():
    vocabulary = Vocabulary(["C", "N"])
    assert [vocabulary.ids[t] for t in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")] == [0, 1, 2, 3, 4]
    assert (BOS, PAD, EOS, UNK, MASK) == (0, 1, 2, 3, 4)
    assert vocabulary.ids["C"] == 5 and vocabulary.tokens[6] == "N" and len(vocabulary) == 7


def test_other_special_tokens_can_be_chosen():
    vocabulary = Vocabulary(["L", "A", "<mask>"], specials=("<cls>", "<pad>"))
    assert vocabulary.tokens == ["<cls>", "<pad>", "L", "A", "<mask>"] and vocabulary.ids["<mask>"] == 4


def test_the_digest_distinguishes_vocabularies():
    assert Vocabulary(["C", "N"]).digest == Vocabulary(("C", "N")).digest
    assert len({Vocabulary(tokens).digest for tokens in (["C", "N"], ["N", "C"], ["CN"], ["C"])}) == 4


@pytest.mark.parametrize("tokens", [["C", "C"], ["<s>"], [""]])
def test_tokens_are_unique_and_not_empty(tokens):
    with pytest.raises(ConfigError):
        Vocabulary(tokens)
