"""Every published format, in its byte format, against the reader contract. The fixtures are written here by hand."""

import gzip
import io
import json
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itemspace.core.errors import DataError
from itemspace.core.judgments import Queries
from itemspace.data.read import read
from itemspace.data.readers.beir import write_beir
from itemspace.data.readers.mr_tydi import write_mr_tydi
from itemspace.testing.reader import Bad, ReaderContract


class TestParquetFolder(ReaderContract):
    reader = "tables"
    items = ("007", "8", "9")
    events = (("u1", "007"), ("u1", "9"), ("u2", "8"))
    bad = Bad("interactions.csv", 3, "time", "-5")

    def write(self, folder, *, bad=False):
        pq.write_table(
            pa.table({"id": ["007", "8", "9"], "title": ["Boot", "Tent", "Rope"], "price": [12.5, 12.0, None]}),
            folder / "items.parquet",
        )
        last = "-5" if bad else "1600000500"
        (folder / "interactions.csv").write_text(
            f"customer_id,id,timestamp\nu1,007,1600000000\nu1,9,1600000001\nu2,8,{last}\n".replace("timestamp", "time")
        )
        return folder


class TestRecbole(ReaderContract):
    reader = "recbole"
    items = ("1", "2", "3")
    events = (("196", "1"), ("196", "2"), ("22", "3"))
    bad = Bad("tiny.inter", 2, "rating", "good")

    def write(self, folder, *, bad=False):
        rating = "good" if bad else "4"
        (folder / "tiny.inter").write_text(
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
            f"196\t1\t3\t881250949\n196\t2\t{rating}\t881250950\n22\t3\t1\t878887116\n"
        )
        (folder / "tiny.item").write_text(
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            '1\tToy "Story"\t1995\tAnimation Comedy\n2\tGoldenEye\t1995\tAction\n3\tFour Rooms\t1995\t\n'
        )
        return folder


class TestS3Rec(ReaderContract):
    reader = "s3rec"
    items = ("1", "2", "3", "4")
    events = (("1", "1"), ("1", "2"), ("1", "3"), ("2", "4"), ("2", "1"))
    bad = Bad("Tiny.txt", 3, "", "3")

    def write(self, folder, *, bad=False):
        (folder / "Tiny.txt").write_text("1 1 2 3\n2 4 1\n" + ("3\n" if bad else ""))
        (folder / "Tiny_item2attributes.json").write_text('{"1": [1, 2], "2": [2], "3": [3], "4": [1]}')
        return folder


class TestLists(ReaderContract):
    reader = "lists"
    items = ("10", "11", "12")
    events = (("0", "10"), ("0", "11"), ("1", "12"), ("0", "12"), ("1", "10"))
    bad = Bad("train.txt", 3, "", "7")

    def write(self, folder, *, bad=False):
        (folder / "train.txt").write_text("0 10 11\n1 12\n" + ("7\n" if bad else ""))
        (folder / "test.txt").write_text("0 12\n1 10\n")
        return folder


class TestAmazonTimestamps(ReaderContract):
    reader = "amazon-timestamps"
    items = ("5", "6", "7")
    events = (("0", "5"), ("0", "6"), ("1", "7"))
    bad = Bad("x_user2item.jsonl", 2, "Timestamp", "1 items and 2 times")

    def write(self, folder, *, bad=False):
        more = ",1405382400" if bad else ""
        (folder / "x_user2item.jsonl").write_text(
            '{"UserID":0,"ItemID":[5,6],"Timestamp":[1405296000,1405296000]}\n'
            f'{{"UserID":1,"ItemID":[7],"Timestamp":[1405296000{more}]}}\n'
        )
        return folder


class TestAmazon2014(ReaderContract):
    reader = "amazon-2014"
    items = ("B01", "B02", "B03")
    events = (("A1", "B01"), ("A1", "B02"), ("A2", "B01"))
    bad = Bad("reviews_Tiny_5.json.gz", 3, "", '{"reviewerID": "A2", "asin": ')

    def write(self, folder, *, bad=False):
        lines = [
            '{"reviewerID": "A1", "asin": "B01", "overall": 5.0, "unixReviewTime": 1405296000, "summary": "ok"}',
            '{"reviewerID": "A1", "asin": "B02", "overall": 3.0, "unixReviewTime": 1405296001, "summary": ""}',
            '{"reviewerID": "A2", "asin": "B01", "overall": 1.0, "unixReviewTime": 1405296002, "summary": "no"}',
        ]
        if bad:
            lines[2] = '{"reviewerID": "A2", "asin": '
        (folder / "reviews_Tiny_5.json.gz").write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))
        meta = (
            "{'asin': 'B01', 'title': \"Women's boot\", 'price': 12.5, 'categories': [['Shoes', 'Boots'], ['Shoes']]}\n"
            "{'asin': 'B02', 'categories': [['Tents']], 'brand': ''}\n"
            "{'asin': 'B03', 'title': 'Rope', 'related': {'also_bought': ['B01']}}\n"
        )
        (folder / "meta_Tiny.json.gz").write_bytes(gzip.compress(meta.encode()))
        return folder


class TestAmazon2023(ReaderContract):
    reader = "amazon-2023"
    items = ("B1", "B2", "B3")
    events = (("U1", "B1"), ("U2", "B2"), ("U1", "B3"))
    bad = Bad("Tiny.jsonl", 2, "timestamp", "1588615855")

    def write(self, folder, *, bad=False):
        rows = [
            ("U1", "B1", 1588615855070),
            ("U2", "B2", 1588615855 if bad else 1588615855071),
            ("U1", "B3", 1588615855072),
        ]
        reviews = [
            {
                "rating": 5.0,
                "title": "t",
                "text": "x",
                "images": [],
                "asin": i,
                "parent_asin": i,
                "user_id": u,
                "timestamp": t,
            }
            for u, i, t in rows
        ]
        (folder / "Tiny.jsonl").write_text("".join(json.dumps(r) + "\n" for r in reviews))
        meta = [
            {"main_category": "All", "title": f"Thing {i}", "features": ["a"], "description": [], "price": p,
             "parent_asin": i, "details": {"Brand": "X"}, "images": [{"large": "http://a/b.jpg"}]}
            for i, p in (("B1", 9.5), ("B2", None), ("B3", 3.0))
        ]  # fmt: skip
        (folder / "meta_Tiny.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(m) + "\n" for m in meta).encode()))
        return folder


class TestAmazon2023Split(ReaderContract):
    reader = "amazon-2023"
    items = ("B1", "B2", "B3")
    events = (("U1", "B1"), ("U1", "B2"), ("U1", "B3"))
    bad = Bad("Tiny.train.csv", 1, "", "U1,B1,5.0")

    def write(self, folder, *, bad=False):
        header = "user_id,parent_asin,rating,timestamp,history\n"
        (folder / "Tiny.train.csv").write_text(header + ("U1,B1,5.0\n" if bad else "U1,B1,5.0,1588615855070,\n"))
        (folder / "Tiny.valid.csv").write_text(header + "U1,B2,5.0,1588615855071,B1\n")
        (folder / "Tiny.test.csv").write_text(header + "U1,B3,5.0,1588615855072,B1 B2\n")
        return folder


class TestAmazonJson(ReaderContract):
    reader = "amazon-json"
    items = ("0", "1", "2")
    events = (("0", "0"), ("0", "1"), ("1", "2"))
    bad = Bad("Tiny.inter.json", 2, "item", "9")

    def write(self, folder, *, bad=False):
        (folder / "Tiny.inter.json").write_text(json.dumps({"0": [0, 1], "1": [2, 9] if bad else [2]}))
        item = {"title": "T", "description": "D", "brand": "B", "categories": "Tools,Hand Tools"}
        (folder / "Tiny.item.json").write_text(json.dumps({"0": item, "1": item, "2": item}))
        return folder


class TestMiniOneRec(ReaderContract):
    reader = "minionerec"
    items = ("0", "1", "2", "3")
    events = (("A1", "0"), ("A1", "1"), ("A1", "2"), ("A1", "3"))
    bad = Bad("Tiny_5_2016-10-2018-11.csv", 1, "history_item_id", "[0, ")

    def write(self, folder, *, bad=False):
        for name in ("index", "valid", "test"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        item = {"title": "T", "description": "['D']", "brand": "B", "categories": ""}
        (folder / "index" / "Tiny.item.json").write_text(json.dumps({str(i): item for i in range(4)}))
        header = "user_id,history_item_title,item_title,history_item_id,item_id,history_item_sid,item_sid\n"
        first = '"[0, "' if bad else '"[0, 1]"'
        (folder / "valid" / "Tiny_5_2016-10-2018-11.csv").write_text(
            header + f"A1,\"['a', 'b']\",c,{first},2,[],<a_1>\n"
        )
        (folder / "test" / "Tiny_5_2016-10-2018-11.csv").write_text(header + 'A1,[],d,"[0, 1, 2]",3,[],<a_1>\n')
        return folder


class TestMovieLens100K(ReaderContract):
    reader = "movielens"
    items = ("1", "2", "3")
    events = (("196", "1"), ("186", "2"))
    bad = Bad("u.data", 2, "", "186\t2")

    def write(self, folder, *, bad=False):
        second = "186\t2\n" if bad else "186\t2\t3\t891717742\n"
        (folder / "u.data").write_text("196\t1\t3\t881250949\n" + second)
        flags = "|".join(["0"] * 18 + ["1"])
        titles = ("Toy Story (1995)", "Fantôme (1994)", "unknown")
        lines = [f"{n}|{title}|01-Jan-1995||http://x/{n}|{flags}\n" for n, title in enumerate(titles, 1)]
        (folder / "u.item").write_bytes("".join(lines).encode("latin-1"))
        return folder


class TestMovieLens1M(ReaderContract):
    reader = "movielens"
    items = ("1", "2", "3")
    events = (("1", "1"), ("1", "3"), ("2", "1"))
    bad = Bad("ratings.dat", 3, "rating", "five")

    def write(self, folder, *, bad=False):
        rating = "five" if bad else "5"
        (folder / "ratings.dat").write_text(f"1::1::5::978300760\n1::3::3::978302109\n2::1::{rating}::978301968\n")
        (folder / "movies.dat").write_bytes(
            "1::Toy Story (1995)::Animation|Comedy\n2::Misérables, Les (1995)::Drama\n3::Heat (1995)::Action\n".encode(
                "latin-1"
            )
        )
        return folder


class TestMovieLensLatest(ReaderContract):
    reader = "movielens"
    items = ("1", "2", "3")
    events = (("1", "1"), ("1", "2"))
    bad = Bad("ratings.csv", 2, "item", "77")

    def write(self, folder, *, bad=False):
        item = "77" if bad else "2"
        (folder / "ratings.csv").write_text(
            f"userId,movieId,rating,timestamp\n1,1,2.5,1260759144\n1,{item},3,1260759179\n"
        )
        (folder / "movies.csv").write_text(
            'movieId,title,genres\n1,Toy Story (1995),Adventure|Comedy\n2,"Heat, The (1995)",(no genres listed)\n3,Up,Drama\n'
        )
        return folder


class TestColdStart(ReaderContract):
    reader = "movielens-coldstart"
    items = ("0", "1", "2")
    events = (("0", "0"), ("0", "1"), ("1", "2"))
    bad = Bad("movies_extrainfos.dat", 2, "", "2::short")

    def write(self, folder, *, bad=False):
        with zipfile.ZipFile(folder / "ml.zip", "w") as archive:
            archive.writestr(
                "ml/item_df.csv",
                'iid,title,genres\n0,Toy Story (1995),Comedy|Drama\n1,"Matrix, The (1999)",Action\n2,Up,Drama\n',
            )
            for name, row in (("train_df", "0,0"), ("cold_vali_df", "0,1"), ("cold_test_df", "1,2")):
                archive.writestr(f"ml/{name}.csv", f"uid,iid\n{row}\n")
        row = "::G::1 Jan::Comedy::A Director::A Writer::A Cast::A plot.::http://x/a.jpg\n"
        text = f"1::Toy Story::1995{row}" + ("2::short\n" if bad else "") + f"3::The Matrix::1999{row}"
        (folder / "movies_extrainfos.dat").write_text(text)
        return folder


class TestBeir(ReaderContract):
    reader = "beir"
    items = ("d1", "d2", "d3")
    bad = Bad("test.tsv", 2, "corpus-id", "d9")

    def write(self, folder, *, bad=False):
        (folder / "qrels").mkdir(exist_ok=True)
        docs = [{"_id": f"d{n}", "title": f"T{n}", "text": f"text {n}", "metadata": {}} for n in (1, 2, 3)]
        (folder / "corpus.jsonl").write_text("".join(json.dumps(d) + "\n" for d in docs))
        (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "one"}\n{"_id": "q2", "text": "two"}\n')
        last = "d9" if bad else "d2"
        (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\t{last}\t2\n")
        return folder


class TestSmart(ReaderContract):
    reader = "smart"
    items = ("1", "2", "3")
    bad = Bad("cranqrel", 3, "query", "9")

    def write(self, folder, *, bad=False):
        (folder / "cran.all.1400").write_text(
            ".I 1\n.T\na wing in a\nslipstream .\n.A\nbrenckman,m.\n.B\nj. ae. scs. 25, 1958.\n.W\nthe wing .\n"
            ".I 2\n.T\nshear flow .\n.A\nting-yili\n.B\n.W\nthe flow .\n.I 3\n.T\nheat .\n.A\n.B\n.W\nthe slab .\n"
        )
        (folder / "cran.qry").write_text(".I 001\n.W\nwhat wing\nsimilarity .\n.I 004\n.W\nwhat heat .\n")
        third = "9 3 1\n" if bad else ""
        (folder / "cranqrel").write_text("1 1 2 \n2 3 -1\n" + third)
        return folder


class TestTrec(ReaderContract):
    reader = "trec"
    items = ("FT911-1", "FT911-2", "FT911-3")
    bad = Bad("qrels.txt", 2, "", "301 0 FT911-2")

    def write(self, folder, *, bad=False):
        second = "301 0 FT911-2\n" if bad else ""
        (folder / "qrels.txt").write_text(f"301 0 FT911-1 1\n{second}301 0 FT911-2 0\n302 0 FT911-3 2\n")
        return folder


class TestChorus(ReaderContract):
    reader = "chorus"
    items = ("1", "2", "3")
    bad = Bad("Broad_Query_Set_rated.csv", 2, "docid", "99")

    def write(self, folder, *, bad=False):
        products = [
            {"id": "1", "name": "a", "title": "Laptop", "price": 4995, "attr_t_color": "Black", "attr_n_weight": 1.5},
            {"id": "2", "name": "b", "title": "Mouse", "price": 10, "attr_b_wireless": True, "attr_t_color": "Red"},
        ]
        more = [{"id": "3", "name": "c", "title": "Screen", "price": 99.5, "ean": ["0095205603217"]}]
        for name, part in (("1", products), ("2", more)):
            with zipfile.ZipFile(folder / f"{name}.json.zip", "w") as archive:
                archive.writestr(f"{name}.json", json.dumps(part))
        second = "laptop,99,0" if bad else "laptop,2,0"
        (folder / "Broad_Query_Set_rated.csv").write_text(f"query,docid,rating\nlaptop,1,3\n{second}\nscreen,3,2\n")
        return folder


class TestRetroTech(ReaderContract):
    reader = "retrotech"
    items = ("96009010836", "43396061965", "85391862024")
    bad = Bad("sessions", 2, "rank", "first")

    def write(self, folder, *, bad=False):
        text = (
            '"upc","name","manufacturer","short_description","long_description"\n'
            '"096009010836","Fists of Bruce Lee - DVD", , , \n"043396061965","The Professional","Sony","3\\" screen","long"\n'
            '"043396061965","The Professional (again)", , , \n'
        )
        with tarfile.open(folder / "products.tgz", "w:gz") as archive:
            info = tarfile.TarInfo("products.csv")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
        (folder / "sessions").mkdir(exist_ok=True)
        rank = "first" if bad else "1.0"
        (folder / "sessions" / "blue ray_sessions.gz").write_bytes(
            gzip.compress(
                "sess_id,query,rank,clicked_doc_id,clicked\n50002,blue ray,0.0,96009010836,True\n"
                f"50002,blue ray,{rank},85391862024,False\n".encode()
            )
        )
        return folder


class TestWands(ReaderContract):
    reader = "wands"
    items = ("0", "1", "2")
    bad = Bad("label.csv", 2, "label", "Perfect")

    def write(self, folder, *, bad=False):
        (folder / "product.csv").write_text(
            "product_id\tproduct_name\tproduct_class\tcategory hierarchy\tproduct_description\tproduct_features\t"
            "rating_count\taverage_rating\treview_count\n"
            '0\tsolid wood 12" bed\tBeds\tFurniture / Beds\tgood deep sleep\toverallwidth : 12|color : red\t15.0\t4.5\t15.0\n'
            "1\tslow cooker\tCookers\tKitchen / Cookers\t\tcapacity : 7\t100.0\t2.0\t98.0\n2\trug\t\t\t\t\t\t\t\n"
        )
        (folder / "query.csv").write_text("query_id\tquery\tquery_class\n0\twood bed\tBeds\n1\tcooker\tCookers\n")
        label = "Perfect" if bad else "Partial"
        (folder / "label.csv").write_text(
            f"id\tquery_id\tproduct_id\tlabel\n0\t0\t0\tExact\n1\t1\t1\t{label}\n2\t1\t2\tIrrelevant\n"
        )
        return folder


class TestEsci(ReaderContract):
    reader = "esci"
    items = ("us/B1", "us/B2", "es/B1")
    bad = Bad("shopping_queries_dataset_examples.parquet", 2, "esci_label", "Z")

    def write(self, folder, *, bad=False):
        pq.write_table(
            pa.table({
                "product_id": ["B1", "B2", "B1"], "product_title": ["Boot", "Tent", "Bota"],
                "product_description": [None, "d", "d"], "product_bullet_point": ["b"] * 3,
                "product_brand": ["X"] * 3, "product_color": ["red"] * 3, "product_locale": ["us", "us", "es"],
            }),
            folder / "shopping_queries_dataset_products.parquet",
        )  # fmt: skip
        pq.write_table(
            pa.table({
                "example_id": [0, 1, 2, 3], "query": ["boot", "boot", "bota", "tent"], "query_id": [5, 5, 6, 7],
                "product_id": ["B1", "B2", "B1", "B2"], "product_locale": ["us", "us", "es", "us"],
                "esci_label": ["E", "Z" if bad else "C", "S", "E"], "small_version": [1, 1, 1, 0],
                "large_version": [1, 1, 1, 1], "split": ["train", "test", "test", "test"],
            }),
            folder / "shopping_queries_dataset_examples.parquet",
        )  # fmt: skip
        return folder


class TestMrTydi(ReaderContract):
    reader = "mr-tydi"
    items = ("1#0", "1#1", "2#0")
    bad = Bad("qrels.test.txt", 2, "item", "9#9")

    def write(self, folder, *, bad=False):
        passages = {"1#0": ("టైటిల్", "పాఠం ఒకటి"), "1#1": ("టైటిల్", "పాఠం రెండు"), "2#0": ("", "మూడు")}
        answers = ["1#0", "9#9"] if bad else ["1#0"]
        asked = {split: [("7", "ఏది?", answers if split == "test" else ["2#0"])] for split in ("train", "dev", "test")}
        write_mr_tydi(folder, passages, asked)
        return folder


class TestMetaTool(ReaderContract):
    reader = "metatool"
    items = ("NewsTool", "FinanceTool", "timeport")
    bad = Bad("all_clean_data.csv", 2, "Tool", "NoTool")

    def write(self, folder, *, bad=False):
        (folder / "data").mkdir(exist_ok=True)
        (folder / "big_tool_des.json").write_text('{"NewsTool": "News.", "FinanceTool": "Money."}')
        (folder / "plugin_des.json").write_text('{"timeport": "Time travel.", "NewsTool": "not this one"}')
        second = "NoTool" if bad else "timeport"
        (folder / "data" / "all_clean_data.csv").write_text(
            f"Query,Tool\nWhat is new?,NewsTool\nWhen was Rome?,{second}\nWhat is new?,FinanceTool\n"
        )
        both = [{"query": "Tesla news and price", "tool": ["FinanceTool", "NewsTool"]}]
        (folder / "data" / "multi_tool_query_golden.json").write_text(json.dumps(both))
        return folder


def test_metatool_requests_that_read_the_same_are_one_query(tmp_path):
    data = read(TestMetaTool().write(tmp_path))
    assert data.queries.texts == ("What is new?", "When was Rome?")
    assert sorted(data.catalog.ids.decode(data.judgments.items[0])) == ["FinanceTool", "NewsTool"]


def test_metatool_requests_that_need_several_tools(tmp_path):
    folder = TestMetaTool().write(tmp_path)
    both = read(folder, requests="several")
    assert both.queries.texts == ("Tesla news and price",)
    assert sorted(both.catalog.ids.decode(both.judgments.items[0])) == ["FinanceTool", "NewsTool"]
    assert both.catalog.item("NewsTool")["description"] == "News."


def test_mr_tydi_splits_titles_and_language(tmp_path):
    folder = TestMrTydi().write(tmp_path / "mrtydi-v1.1-telugu")
    data = read(folder, split="dev")
    assert data.source["language"] == "te"
    assert data.catalog.item("1#1")["title"] == "టైటిల్"
    assert data.catalog.item("1#1")["text"] == "పాఠం రెండు"
    assert data.catalog.ids.decode(data.judgments.items[0]) == ["2#0"]
    assert read(folder, language="bn").source["language"] == "bn"


def test_a_dataset_written_as_beir_comes_back(tmp_path):
    chorus = read(TestChorus().write(tmp_path))
    spaced = replace(chorus, queries=Queries.of({"big screen": "big screen", "b": "laptop"}))
    write_beir(spaced, tmp_path / "out", columns=("title", "name"), split="dev")
    again = read(tmp_path / "out", split="dev")
    assert [str(name) for name in again.queries.ids.decode(np.arange(2))] == ["q0", "q1"], (
        "run files cannot carry spaces"
    )
    assert again.queries.texts == ("big screen", "laptop")
    assert again.catalog.item("3")["title"] == "Screen"
    pairs = [
        sorted(zip(d.judgments.items.groups.tolist(), map(str, d.catalog.ids.decode(d.judgments.items.values)),
                   d.judgments.grades.tolist(), strict=True)) for d in (chorus, again)
    ]  # fmt: skip
    assert pairs[0] == pairs[1]


def test_amazon_2014_metadata_is_read_as_literals_and_never_evaluated(tmp_path):
    TestAmazon2014().write(tmp_path)
    meta = "{'asin': 'B01', 'title': __import__('os').getcwd()}\n"
    (tmp_path / "meta_Tiny.json.gz").write_bytes(gzip.compress(meta.encode()))
    with pytest.raises(DataError, match="row 1: the line is not valid JSON"):
        read(tmp_path)


def test_amazon_2014_joins_categories_titles_and_ratings(tmp_path):
    data = read(TestAmazon2014().write(tmp_path))
    boot = data.catalog.item("B01")
    assert (boot["title"], boot["price"], boot["categories"]) == ("Women's boot", 12.5, ["Shoes", "Boots"])
    assert data.catalog.item("B02")["brand"] is None
    assert sorted(data.interactions.weight.tolist()) == [1.0, 3.0, 5.0]
    assert data.interactions.time.min() == 1405296000


def test_amazon_2023_times_are_milliseconds(tmp_path):
    data = read(TestAmazon2023().write(tmp_path))
    assert data.interactions.time.tolist() == [1588615855] * 3
    assert any("milliseconds" in note for note in data.source["notes"])


def test_wands_labels_are_grades(tmp_path):
    data = read(TestWands().write(tmp_path))
    pairs = zip(data.catalog.ids.decode(data.judgments.items.values), data.judgments.grades.tolist(), strict=True)
    assert dict(pairs) == {"0": 2.0, "1": 1.0, "2": 0.0}
    bed = data.catalog.item("0")
    assert (bed["category_hierarchy"], bed["product_name"]) == (["Furniture", "Beds"], 'solid wood 12" bed')


@pytest.mark.parametrize(("gains", "substitute", "complement"), [("paper", 0.1, 0.01), ("script", 0.01, 0.1)])
def test_esci_gains_are_those_named(tmp_path, gains, substitute, complement):
    data = read(TestEsci().write(tmp_path), gains=gains)
    pairs = zip(data.catalog.ids.decode(data.judgments.items.values), data.judgments.grades.tolist(), strict=True)
    assert dict(pairs) == pytest.approx({"us/B1": 1.0, "us/B2": complement, "es/B1": substitute})
    assert data.queries.texts == ("boot", "bota")
    assert len(read(tmp_path, version="large").queries) == 3
    assert len(read(tmp_path, split="train", locale="us").judgments.grades) == 1
    assert "B1" in read(tmp_path, locale="us").catalog.ids


def test_retrotech_keeps_the_first_of_a_upc_and_counts_the_rest(tmp_path):
    data = read(TestRetroTech().write(tmp_path))
    assert data.catalog.item("43396061965")["name"] == "The Professional"
    assert data.source["products"] == 3
    assert data.impressions.outcome.tolist() == [1.0, 0.0]


def test_movielens_names_genres_and_years(tmp_path):
    toys = read(TestMovieLens100K().write(tmp_path)).catalog.item("1")
    assert (toys["genres"], toys["year"]) == (["Western"], 1995)


def test_a_film_is_described_whichever_end_its_article_is_at(tmp_path):
    assert read(TestColdStart().write(tmp_path)).catalog.item("1")["plot"] == "A plot."


def test_smart_records_keep_their_fields(tmp_path):
    wing = read(TestSmart().write(tmp_path)).catalog.item("1")
    assert (wing["title"], wing["author"], wing["text"]) == ("a wing in a slipstream .", ["brenckman,m."], "the wing .")
