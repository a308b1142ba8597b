"""The user's files: found by name or path, read strictly, refused in one sentence that helps."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from bench.errors import UserError
from bench.userfile import (
    DurationNs,
    PerSecond,
    Share,
    Times,
    Usd,
    UserModel,
    builtin_names,
    expand_env,
    file_digest,
    find_file,
    load_model,
    parse_model,
    read_toml,
)


class Leaf(UserModel):
    colour: Literal["red", "green"] = "red"
    weight: float = 1.0


class Tree(UserModel):
    title: str
    leaves: list[Leaf] = Field([], alias="leaf")
    best: Leaf | None = None
    wait: DurationNs = 0
    rate: PerSecond = Fraction(1)
    part: Share = Fraction(1)
    times: Times = Fraction(1)
    price: Usd = Decimal(0)


def refusal(data: object) -> str:
    with pytest.raises(UserError) as caught:
        parse_model(Tree, data, "tree.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"title": "t", "prize": 1}, "tree.toml: prize: unknown key; did you mean 'price'?"),
        ({"titel": "t"}, "tree.toml: titel: unknown key; did you mean 'title'?"),
        (
            {"title": "t", "leaf": [{}, {"color": "red"}]},
            "tree.toml: leaf[1].color: unknown key; did you mean 'colour'?",
        ),
        (
            {"title": "t", "best": {"wieght": 1}},
            "tree.toml: best.wieght: unknown key; did you mean 'weight'?",
        ),
        (
            {"title": "t", "best": {"zzz": 1}},
            "tree.toml: best.zzz: unknown key; known here: colour, weight",
        ),
        ({"title": "t", "leaves": []}, "tree.toml: leaves: unknown key; did you mean 'leaf'?"),
        ({}, "tree.toml: title: is required; add it"),
        (
            {"title": "t", "wait": 5},
            'tree.toml: wait: 5 is not a duration; write a number and its unit, such as "800ms"',
        ),
        (
            {"title": "t", "rate": "-1/s"},
            'tree.toml: rate: \'-1/s\' is not a rate above zero; write "10/s" or "120/min"',
        ),
        (
            {"title": "t", "times": "10 x"},
            'tree.toml: times: "10 x" is not a multiplier; write 10 or "10x"',
        ),
        (
            {"title": "t", "best": {"colour": "blue"}},
            "tree.toml: best.colour: 'blue' is not known here; write 'red' or 'green'",
        ),
        ({"title": 3}, "tree.toml: title: 3 does not fit; input should be a valid string"),
    ],
)
def test_a_wrong_file_is_refused_in_one_helpful_sentence(data: object, text: str) -> None:
    """File, key path, fault and remedy; an unknown key is met with the nearest known one."""
    assert refusal(data) == text


class Grove(UserModel):
    named: dict[str, Tree] = {}
    either: Leaf | str = ""
    numbers: list[int] = []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        # below a table of free names there is no list of keys to choose from
        ({"named": {"oak": {"title": "t", "prize": 1}}}, "named.oak.prize: unknown key"),
        ({"either": {"color": "red"}}, "either"),
        ({"numbers": [1, "x"]}, "numbers[1]: 'x' does not fit"),
    ],
)
def test_keys_deep_inside_are_named_by_their_path(data: object, said: str) -> None:
    """Through tables of free names, alternatives and lists."""
    with pytest.raises(UserError) as caught:
        parse_model(Grove, data, "grove.toml")
    assert said in str(caught.value)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_must_be_finite(number: float) -> None:
    """TOML's nan and inf are no weight of anything."""
    assert "tree.toml: best.weight:" in refusal({"title": "t", "best": {"weight": number}})


def test_flags_are_named_instead_of_keys() -> None:
    """A value that came from a flag is refused by the flag's name."""
    with pytest.raises(UserError, match=r"^--wait: 5 is not a duration"):
        parse_model(Tree, {"title": "t", "wait": 5}, "command line", {"wait": "--wait"})


def test_models_survive_being_written_and_read() -> None:
    """Dumping a model and parsing the dump gives the same exact values, thirds and sixtieths
    included.
    """
    tree = parse_model(
        Tree,
        {
            "title": "t",
            "wait": "1m30s",
            "rate": "10/min",
            "part": "99.95%",
            "times": 1e-5,
            "price": "0.1",
        },
        "x",
    )
    again = parse_model(Tree, tree.model_dump(exclude_defaults=True, by_alias=True), "x")
    assert again == tree
    assert again.rate == Fraction(1, 6)


def test_models_are_frozen() -> None:
    """What was read cannot be changed by a later room."""
    with pytest.raises(ValueError, match="frozen"):
        parse_model(Tree, {"title": "t"}, "x").__setattr__("title", "other")


def test_toml_errors_name_the_line(tmp_path: Path) -> None:
    """A syntax error names the file and the line; a file that is no text says so."""
    path = tmp_path / "broken.toml"
    path.write_text('a = 1\nb = "open\nc = 3\n')
    with pytest.raises(UserError, match=r"broken\.toml: is not valid TOML: .*line 2"):
        read_toml(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not UTF-8 text; save it as UTF-8"):
        read_toml(path)
    with pytest.raises(UserError, match="cannot be read"):
        load_model(Tree, tmp_path / "none.toml")


def test_a_name_is_a_built_in_file_and_a_path_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare name finds what ships; a path is looked for beside the file that names it,
    then here.
    """
    assert find_file("load", "chat").name == "chat.toml"
    (tmp_path / "mine.toml").write_text("")
    assert find_file("load", "mine.toml", tmp_path) == tmp_path / "mine.toml"
    monkeypatch.chdir(tmp_path)
    assert find_file("load", "mine.toml", tmp_path / "elsewhere") == Path("mine.toml")
    assert find_file("load", "./mine.toml") == Path("mine.toml")
    with pytest.raises(UserError, match="is a folder, not a file"):
        find_file("load", str(tmp_path))
    with pytest.raises(UserError, match=r"none\.toml: no such file; give a path that exists"):
        find_file("load", "none.toml")


def test_an_unknown_name_is_met_with_the_nearest() -> None:
    """A misspelt built-in is corrected; one that resembles nothing gets the list."""
    with pytest.raises(UserError, match=r"no load profile named 'chatt'; did you mean chat\?"):
        find_file("load", "chatt")
    with pytest.raises(UserError) as caught:
        find_file("contracts", "qqqqqq")
    assert all(name in str(caught.value) for name in builtin_names("contracts"))
    with pytest.raises(
        UserError,
        match=r"no suite or scenario named 'vanity-averag'; did you mean vanity-average\?",
    ):
        find_file("suites", "vanity-averag", None, "scenarios")


def test_environment_is_filled_in_or_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """`${NAME}` becomes its value; a variable that is not set ends with its name and what
    to type.
    """
    monkeypatch.setenv("TP_A", "one")
    monkeypatch.delenv("TP_B", raising=False)
    assert expand_env("x ${TP_A} $TP_A ${TP_A}", "here") == "x one $TP_A one"
    with pytest.raises(
        UserError, match=r"^here: environment variable TP_B is not set; export TP_B=\.\.\. first"
    ):
        expand_env("${TP_B}", "here")


def test_digest_is_sha256(tmp_path: Path) -> None:
    """The digest of a file's bytes is the published SHA-256 of `abc`."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert (
        file_digest(tmp_path / "abc")
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


@pytest.mark.parametrize(
    ("name", "text", "language"),
    [
        ("s.yaml", "a: 1\n", "YAML"),
        ("s.toml", "# a suite\n\nname: x\nstages:\n  - a\n", "YAML"),
        ("s.toml", "---\na: 1\n", "YAML"),
        ("s.toml", "- a\n- b\n", "YAML"),
        ("s.toml", '{"a": 1}\n', "JSON"),
        ("s.json", "[1]]\n", "JSON"),
    ],
)
def test_another_language_is_named(tmp_path: Path, name: str, text: str, language: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=f"is {language}, and a TOML file is wanted"):
        read_toml(find_file("suites", name, tmp_path))


@pytest.mark.parametrize("text", ["a = \n", "[table\n", "=\n", "a.b = 1 = 2\n", '"x" = \n'])
def test_broken_toml_is_called_toml(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(UserError, match="is not valid TOML"):
        read_toml(tmp_path / "s.toml")


def test_a_key_of_thousands_of_parts_is_refused_at_once(tmp_path: Path) -> None:
    """Python's parser takes a time that grows with the square of them; dots in texts are dots."""
    deep, prose = tmp_path / "deep.toml", tmp_path / "prose.toml"
    deep.write_text(f"a{'.a' * 100_000} = 1\n")
    prose.write_text(f'text = "{"." * 100_000}"\n# {"." * 100_000}\n')
    with pytest.raises(UserError, match="nested too deeply"):
        read_toml(deep)
    assert len(read_toml(prose)["text"]) == 100_000
