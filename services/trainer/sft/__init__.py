"""Recipe `sft`: supervised tuning of an adapter on pairs of an input and what should be answered.

method     how to train
pairs      rows become token ids; those that are too long are counted
packing    many pairs in one row of tokens, what they begin with alike once
network    the causal language model under training
run        steps, epochs, validation
tune       all of it: pairs in, the folder of a version out
"""
