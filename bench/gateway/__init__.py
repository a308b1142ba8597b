"""The simulated LLM gateway: behaves by a stated law and logs its own truth per request.

In: scenario files and HTTP requests. Out: OpenAI-shaped answers, and the truth about them.
Must stay true: it shares nothing with `load` or `plan`, so that a bug on one side cannot hide
one on the other.
"""
