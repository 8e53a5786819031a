"""Many threads, one pass: everyone gets their own rows or their own error, and nobody waits for nothing."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from itemspace.core.errors import ContractError
from itemspace.core.requests import Requests
from itemspace.encode.lsa import LSAEncoder
from itemspace.encode.micro_batching import MicroBatchedEncoder, MicroBatcher
from itemspace.testing.encoder import product_catalog


class Recorder:
    """Squares numbers, refuses negative ones, and remembers the size of every batch."""

    def __init__(self, seconds=0.0):
        self.sizes, self.seconds, self.inside = [], seconds, 0

    def __call__(self, items):
        self.inside += 1
        assert self.inside == 1, "two batches at once"
        self.sizes.append(len(items))
        time.sleep(self.seconds)
        self.inside -= 1
        if min(items) < 0:
            raise ValueError(f"negative: {min(items)}")
        return np.array(items)[:, None] ** 2


def test_every_caller_gets_its_own_rows_in_order():
    run = Recorder(0.002)
    batcher = MicroBatcher(run, max_batch=16)

    def ask(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            items = rng.integers(0, 1000, rng.integers(1, 5)).tolist()
            np.testing.assert_array_equal(batcher(items)[:, 0], np.square(items))

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(ask, range(12)))
    assert len(run.sizes) < 12 * 20 / 2  # gathered
    assert max(run.sizes) <= 16


def test_a_bad_caller_fails_alone():
    batcher = MicroBatcher(Recorder(0.002), max_batch=64)

    def ask(number):
        for _ in range(10):
            if number % 4 == 0:
                with pytest.raises(ValueError, match=f"negative: {-number - 1}$"):
                    batcher([-number - 1])
            else:
                assert batcher([number])[0, 0] == number**2

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))


def test_who_is_alone_does_not_wait():
    batcher = MicroBatcher(Recorder(), max_wait_ms=60_000)
    assert [int(batcher([n])[0, 0]) for n in range(5)] == [0, 1, 4, 9, 16]  # a wait would hang here


def test_who_comes_while_a_batch_runs_shares_the_next():
    started, go = threading.Event(), threading.Event()
    sizes = []

    def run(items):
        sizes.append(len(items))
        started.set()
        assert go.wait(20)
        return np.array(items)

    batcher = MicroBatcher(run, max_batch=4)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher, [0])
        assert started.wait(20)
        rest = [pool.submit(batcher, [n]) for n in range(1, 7)]
        while len(batcher._waiting) < 6:
            time.sleep(0.001)
        go.set()
        assert [int(f.result()[0]) for f in [first, *rest]] == list(range(7))
    assert sizes == [1, 4, 2]


def test_more_than_a_batch_from_one_caller_stays_together():
    run = Recorder()
    assert len(MicroBatcher(run, max_batch=4)(list(range(11)))) == 11
    assert run.sizes == [11]


def test_closing_answers_what_is_under_way_and_refuses_the_rest():
    started, go = threading.Event(), threading.Event()

    def run(items):
        started.set()
        assert go.wait(20)
        return np.array(items)

    batcher = MicroBatcher(run)
    with ThreadPoolExecutor(4) as pool:
        asked = pool.submit(batcher, [1])
        assert started.wait(20)
        late = pool.submit(batcher, [2])
        while not batcher._waiting:
            time.sleep(0.001)
        closing = pool.submit(batcher.close)
        go.set()
        closing.result(20)
        assert int(asked.result()[0]) == 1
        assert int(late.result()[0]) == 2
    with pytest.raises(ContractError, match="closed"):
        batcher([3])


def test_rows_that_do_not_match_are_an_error_and_the_next_call_works():
    answers = [np.zeros((3, 1)), np.zeros((1, 1))]
    batcher = MicroBatcher(lambda items: answers.pop(0))
    with pytest.raises(ContractError, match="1 items came back as 3 rows"):
        batcher([1])
    assert batcher([1]).shape == (1, 1)


def test_an_encoder_answers_threads_as_it_answers_one(tmp_path):
    inner = LSAEncoder(dimension=16).fit(product_catalog())
    encoder = MicroBatchedEncoder(inner, max_batch=8)
    texts = product_catalog().texts()[:120]
    expected = inner.encode(Requests.texts(texts), role="query").values

    def ask(text):
        return encoder.encode(Requests.texts([text]), role="query").values[0]

    with ThreadPoolExecutor(16) as pool:
        np.testing.assert_allclose(np.stack(list(pool.map(ask, texts))), expected, atol=1e-6)
    encoder.save(tmp_path)
    opened = MicroBatchedEncoder.open(tmp_path)
    assert opened.space == encoder.space
    assert opened.max_batch == 8
    encoder.close()
    with pytest.raises(ContractError, match="closed"):
        ask("boots")
