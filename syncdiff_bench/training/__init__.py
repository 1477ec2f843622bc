"""Training: a `TrainingTask` says what is learnt, `loop.train` says how, a TOML file says with which numbers.

config TOML ──▶ loader ──▶ task (data, networks, loss) ──▶ loop (accelerate: steps, EMA, checkpoints) ──▶ exported model
"""
