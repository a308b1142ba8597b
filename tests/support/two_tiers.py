"""A scenario of two tiers on the embedded gateway: `pro` answers every request, `standard` loses
three in ten.
"""

from __future__ import annotations


def two_tiers(law: str, folder: str = "") -> str:
    """The scenario's file; `law` gives both pools their times, load.toml and contract.toml lie in
    `folder`.
    """
    return f"""
description = "Two tiers: one good, one that loses requests"
seed = 3
[[gateway.model]]
name = "Pro/*"
pool = "good"
[[gateway.model]]
name = "*"
pool = "lossy"
[[gateway.pool]]
name = "good"
{law}
[[gateway.pool]]
name = "lossy"
{law}
[[gateway.timeline]]
pool = "lossy"
fault = "http_503"
share = "30%"
[truth]
says = "the good tier answers all requests, the other seven in ten"
[[stage]]
name = "tiers"
targets = ["standard", "pro"]
profile = "{folder}load.toml"
contract = "{folder}contract.toml"
settle = "0s"
"""
