"""The APIs that the gateway speaks, one module each, behind the seam of `seam.py`.

In: requests as they came. Out: what they ask for; answers, errors and lists of models as bytes.
Must stay true: written from the vendors' documentation alone, without a look into `bench.api`; what
serves requests knows no API.
"""
