"""Recipes `dpo` and `sft+dpo`: which of two answers is preferred, learned from edits.

method        how preferences are learned
loss          of direct preference optimisation
preferences   rows become token ids; the objective that a run of `sft.run` lowers, pairs beside
              examples in each step
tune          all of it: preferences in, the folder of a version out

Why not TRL's DPOTrainer (read at 1.16): it owns the loop, renders and pads its own batches and runs
all layers for both answers of each pair, so that packing and what is kept from below the adapter
are lost; it takes the reference from a second adapter by `peft`'s forward, which merged products
replace; and its checkpoints do not end with the same bytes. Its loss is one line, to which the
tests hold this one.
"""
