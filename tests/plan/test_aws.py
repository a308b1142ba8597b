"""Keys and regions of AWS: where they come from, and what is said where there are none."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.api.auth import Outgoing
from bench.errors import UserError
from bench.plan import aws
from bench.plan.aws_chain import KeyChain
from bench.plan.credentials import Redaction, request_signer, secrets_of
from bench.plan.target import Target

RUNTIME = "https://bedrock-runtime.{}.amazonaws.com"
SECRET, TOKEN = "hidden-secret-key/+0", "hidden-token=="


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No keys but those of the test: none of the environment, of files or of the machine."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    aws._chain.cache_clear()
    yield
    aws._chain.cache_clear()


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary keys in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)


def target(base_url: str = RUNTIME.format("eu-west-1"), **more: object) -> Target:
    fields = {"description": "d", "name": "t", "api": "converse", "model": "m", **more}
    return Target.model_validate({"base_url": base_url, **fields})


def scope(made: Target) -> tuple[str, str, str]:
    """Access key, region and service of its signatures."""
    sign = request_signer(made)
    assert sign is not None
    headers = dict(sign(Outgoing("POST", made.request_url, (), b"", 0)))
    parts = headers["Authorization"].partition("Credential=")[2].split("/")
    return parts[0], parts[2], parts[3]


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("base_url", "named", "variables", "region", "service"),
    [
        (RUNTIME.format("eu-west-1"), "", {}, "eu-west-1", "bedrock"),
        # AWS takes no other region there.
        (RUNTIME.format("us-gov-west-1"), "Ohio", {"AWS_REGION": "x"}, "us-gov-west-1", "bedrock"),
        (RUNTIME.format("cn-north-1") + ".cn", "", {}, "cn-north-1", "bedrock"),
        ("https://vpce-1-a.bedrock-runtime.us-east-1.vpce.amazonaws.com", "", {}, "us-east-1", ""),
        ("https://bedrock-mantle.us-east-2.api.aws/v1", "", {}, "us-east-2", "bedrock-mantle"),
        ("https://my-llm-1.example.com", "eu-north-1", {"AWS_REGION": "x"}, "eu-north-1", ""),
        ("http://127.0.0.1:9", "", {"AWS_REGION": "a", "AWS_DEFAULT_REGION": "b"}, "a", ""),
        ("http://127.0.0.1:9", "", {"AWS_DEFAULT_REGION": "b"}, "b", ""),
    ],
)
def test_the_region_is_the_hosts_else_the_targets_else_the_environments(
    base_url: str,
    named: str,
    variables: dict[str, str],
    region: str,
    service: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the service is bedrock, but for the OpenAI front of its own name."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    made = target(base_url, region=named)
    assert scope(made) == ("AKIDEXAMPLE", region, service or "bedrock")


@pytest.mark.usefixtures("keys")
def test_the_keys_are_secrets_and_the_token_is_sent() -> None:
    """What the files of a run may not hold."""
    made = target()
    assert {SECRET, TOKEN} <= {secret.get_secret_value() for secret in secrets_of(made)}
    sign = request_signer(made)
    assert sign is not None
    headers = dict(sign(Outgoing("POST", made.request_url, (), b"", 0)))
    assert headers["X-Amz-Security-Token"] == TOKEN
    assert SECRET not in str(headers)


def refusal(made: Target) -> str:
    """The one sentence about a target that cannot be signed for; no secret is in it."""
    with pytest.raises(UserError) as caught:
        request_signer(made)
    said = str(caught.value)
    assert SECRET not in said
    assert TOKEN not in said
    assert "\n" not in said
    return said


@pytest.mark.usefixtures("keys")
def test_without_a_region_nothing_is_signed() -> None:
    """Where nobody names one; the sentence says how."""
    said = refusal(target("http://127.0.0.1:9"))
    assert said.startswith("target t: region: ")
    assert "AWS_REGION" in said


@pytest.mark.parametrize("installed", [True, False])
def test_without_keys_nothing_is_signed(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With half of them neither; without botocore the extra is named."""
    if not installed:
        monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    said = refusal(target())
    assert said.startswith("target t: auth: ")
    assert "AWS_ACCESS_KEY_ID" in said
    assert ("tailproof[aws]" in said) != installed


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_keys_that_cannot_be_keys_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line break would begin another header."""
    monkeypatch.setenv(name, SECRET + "\nX-Evil: 1")
    assert "line break" in refusal(target())


@pytest.mark.usefixtures("keys")
def test_headers_of_the_signature_are_its_own() -> None:
    """Two proofs of who sends would contradict each other."""
    assert "headers.x-amz-date" in refusal(target(headers={"x-amz-date": "1"}))


@pytest.mark.usefixtures("keys")
def test_a_host_header_of_the_users_is_signed() -> None:
    """Through a tunnel the service sees its own name."""
    name = "bedrock-runtime.eu-west-1.amazonaws.com"
    direct, tunnel = (
        target(),
        target("http://127.0.0.1:9", headers={"Host": name}, region="eu-west-1"),
    )
    made = []
    for each in (direct, tunnel):
        sign = request_signer(each)
        assert sign is not None
        made.append(sign(Outgoing("POST", each.request_url, (), b"x", 0)))
    assert made[0] == made[1]


def test_a_token_that_aws_repeats_is_redacted_though_it_was_renewed() -> None:
    """As it answers a signature that does not match: with all that was signed."""
    canonical = "content-type:application/json\nx-amz-security-token:IQoJb3Ig+/x==\n\nhost"
    assert Redaction([]).clean(f"The Canonical String was\n'{canonical}'") == (
        "The Canonical String was\n'content-type:application/json\n"
        "x-amz-security-token:[redacted]\n\nhost'"
    )
    assert (
        Redaction([]).clean("x-amz-security-token is missing") == "x-amz-security-token is missing"
    )


def command_of(folder: Path) -> Path:
    """A profile whose keys a command prints, from a file that the test rewrites."""
    given = folder / "given.json"
    program = f"import pathlib; print(pathlib.Path({str(given)!r}).read_text())"
    script = folder / "command.py"
    script.write_text(program)
    (folder / "config").write_text(
        f"[default]\nregion = ca-west-1\ncredential_process = {sys.executable} {script}\n"
    )
    return given


def told(access_key: str, expires: str) -> str:
    """What a credential_process prints."""
    return json.dumps(
        {
            "Version": 1,
            "AccessKeyId": access_key,
            "SecretAccessKey": SECRET,
            "SessionToken": TOKEN,
            "Expiration": expires,
        }
    )


def test_the_chain_of_botocore_gives_keys_and_region(tmp_path: Path) -> None:
    """Where the environment has none: here a command of a profile."""
    command_of(tmp_path).write_text(told("FIRST", "2999-01-01T00:00:00Z"))
    made = target("http://127.0.0.1:9")
    assert scope(made) == ("FIRST", "ca-west-1", "bedrock")
    assert {SECRET, TOKEN} <= {secret.get_secret_value() for secret in secrets_of(made)}


def test_keys_are_asked_for_again_before_they_expire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is renewed is signed with at once; what cannot be renewed stays."""
    given = command_of(tmp_path)
    given.write_text(told("FIRST", "2999-01-01T00:00:00Z"))
    chain = KeyChain()
    assert chain.keys().access_key == "FIRST"
    given.write_text(told("SECOND", "2999-01-01T00:00:00Z"))
    chain.renew()
    assert chain.keys().access_key == "FIRST", "it is valid still"
    # A clock of botocore's own: its keys are about to expire.
    monkeypatch.setattr(chain._source, "_expiry_time", chain._source._time_fetcher())
    chain.renew()
    assert chain.keys().access_key == "SECOND"
