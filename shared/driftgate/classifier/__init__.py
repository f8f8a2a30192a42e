"""The text classifier that is trained, judged and served: a frozen base and small adapters.

A version is the mean-pooled, L2-normalised output of the base, with a LoRA adapter under a cosine
head, or without one under a linear head. `base` reads the frozen network, `folder` reads and writes
a version's files, `bert` computes BERT-shaped networks without padding, `plain` any other,
`serving` answers with many versions.

The modules import torch, and only `plain` and `base.load` use transformers: a process that serves a
BERT-shaped base never pays for it.
"""
