"""From labelled rows to a model repo and the launch file that goes with it.

baseline    what the frozen base alone gets right, and how clearly
proposal    suite, launch rows, bars and protected slice for what is there, with reasons
launch      the launch file: written, and held against its model repo
writing     model.yaml and evals/
"""
