"""What a server is told, and what it refuses to be told."""

import datetime

import pytest

from itemspace.core.errors import RecipeError
from itemspace.serve import ServeConfig, create_app, new_key
from itemspace.serve.config import is_local
from itemspace.serve.errors import Refusal
from itemspace.serve.keys import Keys, presented
from tests.serve.conftest import keys_of


def test_a_file_and_options_before_it(tmp_path):
    file = tmp_path / "serve.toml"
    file.write_text('port = 9000\n[spaces]\nshop = "shop.space"\n[limits]\nmax_k = 50\ntimeout_s = 2.0\n')
    config = ServeConfig.load(file, {"port": 9001, "limits": {"timeout_s": 1.0}})
    assert config.spaces == {"shop": tmp_path / "shop.space"}  # relative to the file
    assert (config.port, config.limits.max_k, config.limits.timeout_s) == (9001, 50, 1.0)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"spaces": {"shop": "x"}, "prot": 1}, "Did you mean `port`"),
        ({"spaces": {"shop": "x"}, "limits": {"max_kk": 1}}, "Did you mean `max_k`"),
        ({"spaces": {}}, "should not be empty"),
        ({}, "`spaces` is missing"),
        ({"spaces": {"../x": "x"}}, "cannot be part of an address"),
        ({"spaces": {"a/b": "x"}}, "cannot be part of an address"),
        ({"spaces": {"shop": "x"}, "rules": {"shp": "r.toml"}}, "which is no Space here"),
        ({"spaces": {"shop": "x"}, "limits": {"timeout_s": 0}}, "limits.timeout_s"),
        ({"spaces": {"shop": "x"}, "port": 70000}, "at most 65535"),
    ],
)
def test_what_cannot_be_is_refused(values, told):
    with pytest.raises(RecipeError, match=told):
        ServeConfig.parse(values)


def test_files_that_are_none(tmp_path):
    with pytest.raises(RecipeError, match="cannot be read"):
        ServeConfig.load(tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("port = = 1")
    with pytest.raises(RecipeError, match="not a TOML file"):
        ServeConfig.load(tmp_path / "bad.toml")


def test_no_space_no_server(tmp_path):
    with pytest.raises(RecipeError, match="there is no Space at"):
        create_app(ServeConfig.parse({"spaces": {"shop": tmp_path}, "page": False}))


def test_no_rules_no_server(built, tmp_path):
    config = {"spaces": {"shop": built}, "rules": {"shop": tmp_path / "rules.toml"}, "page": False}
    with pytest.raises(RecipeError, match="no rules file"):
        create_app(ServeConfig.parse(config))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "shop.example.org", ""])
def test_other_machines_need_a_key(built, host, monkeypatch):
    monkeypatch.delenv("ITEMSPACE_KEYS", raising=False)
    values = {"spaces": {"shop": built}, "host": host, "page": False}
    with pytest.raises(RecipeError, match="no key is configured"):
        create_app(ServeConfig.parse(values))
    monkeypatch.setenv("ITEMSPACE_KEYS", new_key("page", ["read"])[1])
    assert create_app(ServeConfig.parse(values)).keys


def test_which_hosts_are_this_machine():
    assert all(map(is_local, ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]", "LOCALHOST"]))
    assert not any(map(is_local, ["0.0.0.0", "::", "10.0.0.1", "localhost.example.org", "127.0.0.1.example.org", ""]))


class TestKeys:
    def test_a_new_key_opens_and_its_line_does_not_show_it(self):
        key, line = new_key("page", ["read"])
        keys = keys_of(line)
        assert key not in line
        assert keys.find(key).name == "page"
        assert keys.find(key).scopes == {"read"}
        assert keys.find(key[:-1]) is None
        assert keys.find("") is None

    def test_a_key_opens_until_its_last_day_is_over(self):
        key, line = new_key("guest", ["read"], datetime.date(2031, 5, 30))
        assert line.endswith(" until:2031-05-30")
        held = keys_of(line).find(key)
        assert not held.expired()
        assert not held.expired(datetime.datetime(2031, 5, 30, 23, 59, 59, tzinfo=datetime.UTC))
        assert held.expired(datetime.datetime(2031, 5, 31, tzinfo=datetime.UTC))
        moment = keys_of(line.replace("2031-05-30", "2031-05-30T12:00+02:00")).find(key)
        assert not moment.expired(datetime.datetime(2031, 5, 30, 9, 59, tzinfo=datetime.UTC))
        assert moment.expired(datetime.datetime(2031, 5, 30, 10, tzinfo=datetime.UTC))
        assert not keys_of(new_key("page")[1]).known[0].expired(datetime.datetime.max.replace(tzinfo=datetime.UTC))
        with pytest.raises(RecipeError, match="names no day"):
            new_key("guest", until="tomorrow")

    def test_a_plain_key_in_the_environment_alone(self, tmp_path):
        assert keys_of("ci read,write plain:0123456789abcdef").find("0123456789abcdef").scopes == {"read", "write"}
        file = tmp_path / "keys.txt"
        file.write_text("ci read plain:0123456789abcdef\n")
        with pytest.raises(RecipeError, match="neither a hash nor long enough"):
            Keys.of(ServeConfig.parse({"spaces": {"s": "x"}, "key_file": file}))

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("page read", "2 words are no key"),
            (f"page read sha256:{'0' * 64} 2031-05-30", "names no day"),
            (f"page read sha256:{'0' * 64} until:2031-02-30", "names no day"),
            (f"page read sha256:{'0' * 64} until:2031-02-20 more", "5 words are no key"),
            ("page red sha256:" + "0" * 64, "unknown scope `red`"),
            ("page read sha256:" + "0" * 63, "neither a hash"),
            ("page read plain:short", "neither a hash nor long enough"),
            ("a/b read sha256:" + "0" * 64, "no name for a key"),
            ("page read sha256:{};page read sha256:{}".format("0" * 64, "1" * 64), "is there twice"),
            ("a read sha256:{0};b read sha256:{0}".format("0" * 64), "is there twice"),
        ],
    )
    def test_lines_that_are_no_keys(self, line, told):
        with pytest.raises(RecipeError, match=told) as caught:
            keys_of(line)
        assert "short" not in str(caught.value).replace("long enough", "")  # a key is never shown

    def test_an_empty_file_is_no_protection(self, tmp_path):
        file = tmp_path / "keys.txt"
        file.write_text("# nothing\n")
        with pytest.raises(RecipeError, match="holds no key"):
            Keys.of(ServeConfig.parse({"spaces": {"s": "x"}, "key_file": file}))

    def test_where_a_request_brings_it(self):
        assert presented({b"authorization": b"Bearer abc"}) == "abc"
        assert presented({b"authorization": b"bearer  abc "}) == "abc"
        assert presented({b"x-api-key": b"abc"}) == "abc"
        assert presented({}) is None
        for headers in (
            {b"authorization": b"Basic abc"},
            {b"authorization": b"Bearer"},
            {b"authorization": b"Bearer a", b"x-api-key": b"b"},
        ):
            with pytest.raises(Refusal):
                presented(headers)

    def test_new_keys_on_the_command_line(self, tmp_path, capsys):
        from itemspace.cli.app import app
        from itemspace.core.errors import RequestError

        file = tmp_path / "keys.txt"
        for name, scopes in (("page", "read"), ("import", "read,write")):
            app(["new-key", name, "--scopes", scopes, "--file", str(file)], standalone_mode=False)
            key = capsys.readouterr().out.split()[0]
            found = Keys.of(ServeConfig.parse({"spaces": {"s": "x"}, "key_file": file})).find(key)
            assert (found.name, found.scopes) == (name, set(scopes.split(",")))
            assert key not in file.read_text()
        assert file.stat().st_mode & 0o077 == 0
        with pytest.raises(RequestError, match="already"):
            app(["new-key", "page", "--file", str(file)], standalone_mode=False)
        with pytest.raises(RecipeError, match="unknown scope"):
            app(["new-key", "other", "--scopes", "admin", "--file", str(file)], standalone_mode=False)
