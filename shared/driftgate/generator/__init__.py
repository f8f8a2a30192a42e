"""The causal language model that is trained, judged and served: a frozen base and small adapters.

`prompt` makes an input what a user says, `chat` makes that token ids by the base's own chat
template, `base` loads the frozen network. `prompt` alone imports nothing heavy.
"""
