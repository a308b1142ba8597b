"""A scenario of two priced models on the embedded gateway: `m0`, which loses one request in twenty,
and `m1`, which loses none.
"""

from __future__ import annotations


def two_models(usual: str, other: str, stage: str, gateway: str = "") -> str:
    """The scenario's file: the times of m0 and of m1, and what its only stage and the gateway say
    beyond that; its load is p.toml.
    """
    return f"""
description = "two models, of which m0 loses one request in twenty"
seed = 1
{gateway}
[[gateway.model]]
name = "m1"
pool = "other"
[[gateway.model]]
name = "*"
pool = "usual"
[[gateway.pool]]
name = "usual"
e2e = {usual}
[[gateway.pool]]
name = "other"
e2e = {other}
[[gateway.timeline]]
pool = "usual"
fault = "http_500"
share = "5%"
[truth]
says = "see above"
[[stage]]
name = "s"
profile = "p.toml"
{stage}
"""


def poisson(rate: str, duration: str) -> str:
    """A load profile of 20 tokens in and 20 out."""
    return f"""
description = "d"
duration = "{duration}"
prompt_tokens = [{{ fixed = 20 }}]
output_tokens = [{{ fixed = 20 }}]
[arrivals]
kind = "poisson"
rate = "{rate}"
"""


def model(name: str, input_usd: float, output_usd: float) -> str:
    """A target: this model at these USD per million tokens."""
    return f"""
description = "d"
base_url = "embedded"
model = "{name}"
[prices]
input_usd_per_million = {input_usd}
output_usd_per_million = {output_usd}
as_of = 2026-11-23
source = "made"
"""
