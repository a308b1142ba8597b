"""`verify` and `sign` as commands: exit codes, sentences, nothing written that was not
asked for.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from bench.judge.review import file_records
from bench.record.run_folder import Run, RunWriter
from bench.record.samples import SCHEDULE_DTYPE, empty_samples
from tests.support.records import manifest_of

LANE = {
    "name": "t",
    "contract": None,
    "phases": ["steady"],
    "phase_spans": [],
    "buckets": [],
    "start_ns": 0,
    "end_ns": 10**9,
    "closed_loop": False,
    "closed_by_duration": False,
    "prices": None,
    "expect": [],
    "stage": "s",
    "max_in_flight": None,
    "model": "m",
    "region": "",
    "tier": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished run of five rows that were never sent, judged."""
    writer = RunWriter(tmp_path / "r", manifest_of([LANE]), np.zeros(5, SCHEDULE_DTYPE))
    writer.finish("complete", empty_samples(5), {"harness": {}, "strings": {}})
    file_records(Run(writer.folder))
    return writer.folder


def test_exit_0_when_nothing_differs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says how much was looked at."""
    assert main(["verify", str(folder)]) == 0
    assert capsys.readouterr() == (
        "PASS  nothing differs: looked at 2 files by digest and judged 0 clauses anew\n",
        "",
    )


def test_exit_1_when_something_differs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What differs stands first, a line each; foreign text cannot steer the terminal."""
    summary = json.loads((folder / "summary.json").read_bytes())
    (folder / "summary.json").write_text(
        json.dumps(summary | {"overall": "PASS\u202e", "state": "x"})
    )
    assert main(["verify", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert 'summary.json: overall: stored "PASS\\u202e", recomputed "NONE"' in lines
    assert 'summary.json: state: stored "x", recomputed "complete"' in lines
    assert lines[0].startswith("FAIL  2 differences: looked at 2 files")


def test_json_names_file_and_difference(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the text says in a line, and how much was looked at."""
    summary = json.loads((folder / "summary.json").read_bytes())
    (folder / "summary.json").write_text(json.dumps(summary | {"state": "x"}))
    assert main(["verify", str(folder), "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {"file": "summary.json", "said": 'state: stored "x", recomputed "complete"'} in found[
        "differences"
    ]
    assert (found["files"], found["clauses"]) == (2, 0)


def test_exit_2_for_what_is_no_run(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder without a run, and a key that is none."""
    assert main(["verify", str(tmp_path)]) == 2
    assert "is not a run's folder (no run.json)" in capsys.readouterr().err
    assert main(["verify", str(folder), "--public-key", str(folder / "run.json")]) == 2
    assert "holds no public Ed25519 key" in capsys.readouterr().err


def test_a_signed_run_is_verified_by_its_public_key(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Signed, checked; after an edit of the manifest both its digest and the signature fail;
    unsigned is a difference.
    """
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    private, public = tmp_path / "k.pem", tmp_path / "p.pem"
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    private.chmod(0o600)
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    checked = ["verify", str(folder), "--public-key", str(public)]
    assert main(checked) == 1
    assert "run.json.sig: is missing" in capsys.readouterr().out
    assert main(["sign", str(folder), "--key", str(private), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == [str(folder / "run.json.sig")]
    assert main(["sign", str(folder), "--key", str(private)]) == 0
    assert capsys.readouterr().out == f"{folder / 'run.json.sig'}\n"
    assert main(checked) == 0
    assert main(["verify", str(folder)]) == 0
    assert (
        "note      run.json.sig is there and was not checked; give --public-key"
        in capsys.readouterr().out
    )
    (folder / "run.json").write_text(
        (folder / "run.json").read_text().replace('"stage": "s"', '"stage": "z"')
    )
    assert main(checked) == 1
    said = capsys.readouterr().out
    assert "run.json: was edited" in said
    assert "run.json.sig: is not this key's signature of run.json" in said
    before = (folder / "run.json.sig").read_bytes()
    assert (
        main(["sign", str(folder), "--key", str(private), "--format", "json"]) == 1
    )  # nobody should vouch for what was changed
    assert [each["file"] for each in json.loads(capsys.readouterr().out)["differences"]] == [
        "run.json"
    ]
    assert (folder / "run.json.sig").read_bytes() == before


def test_a_run_without_an_end_is_not_signed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its manifest does not cover its samples yet."""
    RunWriter(tmp_path / "r", manifest_of([LANE]), np.zeros(5, SCHEDULE_DTYPE))
    assert main(["sign", str(tmp_path / "r"), "--key", "k.pem"]) == 2
    assert (
        "has not ended, so its manifest does not cover its samples yet" in capsys.readouterr().err
    )
