"""Readers of pairs, requests and passages: fixtures in the published byte format, written here by hand."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from itemspace.core.errors import DataError
from itemspace.core.judgments import Queries
from itemspace.data.read import read
from itemspace.data.readers.msmarco import read_top1000, write_msmarco_run
from itemspace.testing.reader import Bad, ReaderContract


def answers(data) -> dict[str, dict[str, float]]:
    """Query ID -> item ID -> grade."""
    judged = data.judgments
    return {
        name: dict(
            zip(data.catalog.ids.decode(judged.items[q]), judged.take(np.array([q])).grades.tolist(), strict=True)
        )
        for q, name in enumerate(data.queries.ids.values.to_pylist())
    }


class TestQuora(ReaderContract):
    reader = "quora-pairs"
    items = ("1", "2", "3", "4", "5")
    bad = Bad("quora_duplicate_questions.tsv", 3, "is_duplicate", "maybe")

    def write(self, folder, *, bad=False):
        (folder / "quora_duplicate_questions.tsv").write_text(
            "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
            "0\t1\t2\tHow do I boil an egg?\tWhat is the way to boil eggs?\t1\n"
            '1\t2\t3\tWhat is the way to boil eggs?\t"How are ""eggs"" boiled,\tquickly?"\t1\n'
            f"2\t1\t4\tHow do I boil an egg?\tHow do I fry an egg?\t{'maybe' if bad else '0'}\n"
            "3\t4\t5\tHow do I fry an egg?\tWhat is an egg?\t0\n"
        )
        return folder

    def test_duplicates_of_duplicates_are_relevant(self, tmp_path):
        data = self.dataset(tmp_path)
        assert answers(data) == {"1": {"2": 1, "3": 1, "4": 0}, "2": {"1": 1, "3": 1}, "3": {"1": 1, "2": 1}}
        assert data.catalog.item("3")["question"] == 'How are "eggs" boiled,\tquickly?'
        assert dict(zip(data.queries.ids.values.to_pylist(), data.queries.texts, strict=True))["1"].startswith(
            "How do I"
        )
        assert "transitive closure" in " ".join(data.source["notes"])

    def test_the_comma_separated_edition_is_read_as_well(self, tmp_path):
        (tmp_path / "train.csv").write_text(
            '"id","qid1","qid2","question1","question2","is_duplicate"\n"0","1","2","a, b?","b, a?","1"\n'
        )
        assert answers(read(tmp_path)) == {"1": {"2": 1}, "2": {"1": 1}}


class TestAskUbuntu(ReaderContract):
    reader = "askubuntu"
    items = ("11", "12", "13", "14", "15")
    bad = Bad("train_random.txt", 2, "id", "99")

    def write(self, folder, *, bad=False):
        (folder / "text_tokenized.txt.gz").write_bytes(
            gzip.compress(
                b"11\thow to mount a drive ?\ti plugged it in .\n12\tdrive does not mount\t\n13\tautomount usb\tat boot\n"
                b"14\tprinter is offline\tcups says so\n15\twifi is slow\t\n"
            )
        )
        (folder / "train_random.txt").write_text(f"11\t12\t14 15\n{'99' if bad else '12'}\t13\t15\n")
        (folder / "dev.txt").write_text("14\t15\t15 13 12\t9.5 3.25 1.0\n11\t\t12 13\t2.0 1.0\n")
        return folder

    def test_similar_questions_are_closed_and_random_ones_are_no_judgments(self, tmp_path):
        data = self.dataset(tmp_path)
        assert answers(data) == {"11": {"12": 1, "13": 1}, "12": {"11": 1, "13": 1}, "13": {"11": 1, "12": 1}}
        assert data.catalog.item("13") == {"id": "13", "title": "automount usb", "body": "at boot"}

    def test_candidates_that_are_not_similar_were_judged(self, tmp_path):
        data = self.dataset(tmp_path, split="dev")
        assert answers(data) == {"14": {"15": 1, "13": 0, "12": 0}, "15": {"14": 1}}
        with pytest.raises(DataError, match=r"test\.txt is missing"):
            self.dataset(tmp_path, split="test")


class TestStsb(ReaderContract):
    reader = "stsb"
    items = ("s1", "s2", "s3", "s4", "s5")
    bad = Bad("stsb-en-train.csv", 2, "score", "high")

    def write(self, folder, *, bad=False):
        (folder / "stsb-en-train.csv").write_text(
            f'A plane is taking off.,"An air plane, taking off.",5.0\nA man sings.,A plane is taking off.,{"high" if bad else "0.4"}\n'
        )
        (folder / "stsb-en-test.csv").write_text(
            '"An air plane, taking off.",A jet departs.,4.0\nA man sings.,A man hums.,3.0\n'
        )
        return folder

    def test_high_scores_are_paraphrases_across_the_parts(self, tmp_path):
        data = self.dataset(tmp_path)
        named = dict(zip(data.catalog.ids.decode(range(5)), data.catalog.texts(), strict=True))
        found = {
            named[query]: {named[item]: grade for item, grade in given.items()}
            for query, given in answers(data).items()
        }
        one, two, three = "A plane is taking off.", "An air plane, taking off.", "A jet departs."
        assert found == {
            one: {two: 1, three: 1, "A man sings.": 0}, two: {one: 1, three: 1}, three: {one: 1, two: 1},
        }  # fmt: skip
        assert len(self.dataset(tmp_path / "loose", least=3.0).queries) == 5


class TestMsMarco(ReaderContract):
    reader = "msmarco"
    items = ("0", "1", "2", "3")
    bad = Bad("qrels.dev.small.tsv", 2, "pid", "77")

    def write(self, folder, *, bad=False):
        (folder / "collection.tsv").write_text(
            '0\tThe Manhattan Project was secret.\n1\tRain falls.\n2\tBoots keep feet dry.\n3\tA "quoted" passage.\n'
        )
        (folder / "queries.dev.small.tsv").write_text(
            "300\twhat keeps feet dry\n2\tmanhattan project\n9\tnever judged\n"
        )
        (folder / "qrels.dev.small.tsv").write_text(f"2\t0\t0\t1\n300\t0\t{'77' if bad else '2'}\t1\n")
        (folder / "queries.train.tsv").write_text("5\tdoes rain fall\n")
        (folder / "qrels.train.tsv").write_text("5\t0\t1\t1\n")
        (folder / "qidpidtriples.train.full.tsv").write_text("5\t1\t0\n5\t1\t3\n5\t1\t0\n5\t1\t1\n")
        (folder / "top1000.dev").write_text(
            "300\t1\twhat keeps feet dry\tRain falls.\n2\t0\tmanhattan project\tThe Manhattan Project was secret.\n"
            "300\t2\twhat keeps feet dry\tBoots keep feet dry.\n"
        )
        return folder

    def test_judged_queries_of_a_split_in_file_order(self, tmp_path):
        data = self.dataset(tmp_path)
        assert answers(data) == {"300": {"2": 1}, "2": {"0": 1}}
        assert data.catalog.item("3")["passage"] == 'A "quoted" passage.'
        assert data.source["split"] == "dev.small"
        with pytest.raises(DataError, match="no split `eval`"):
            self.dataset(tmp_path, split="eval")

    def test_triples_are_negatives_unless_somebody_found_them_right(self, tmp_path):
        assert answers(self.dataset(tmp_path, split="train")) == {"5": {"1": 1}}
        assert answers(self.dataset(tmp_path, split="train", triples=True)) == {"5": {"1": 1, "0": 0, "3": 0}}

    def test_candidates_are_the_items_where_there_is_no_collection(self, tmp_path):
        self.write(tmp_path)
        (tmp_path / "collection.tsv").unlink()
        data = read(tmp_path)
        assert sorted(data.catalog.ids.values.to_pylist()) == ["0", "1", "2"]
        hits = read_top1000(tmp_path / "top1000.dev", data.queries, data.catalog.ids)
        assert [hits.items(q) for q in range(2)] == [["1", "2"], ["0", None]] or [
            [item for item in hits.items(q) if item] for q in range(2)
        ] == [["1", "2"], ["0"]]
        write_msmarco_run(tmp_path / "run.tsv", hits, data.queries)
        assert (tmp_path / "run.tsv").read_text() == "300\t1\t1\n300\t2\t2\n2\t0\t1\n"

    def test_lines_about_others_are_passed_over(self, tmp_path):
        data = self.dataset(tmp_path)
        hits = read_top1000(tmp_path / "top1000.dev", Queries.of({"2": "manhattan project"}), data.catalog.ids)
        assert hits.found.tolist() == [1]
