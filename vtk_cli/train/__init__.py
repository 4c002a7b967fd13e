"""Training: a plain loop over torch's own parts.

    job.py         what `vtk train` asks for, checked, started or resumed
    build.py       splits, labels, device, model, loaders and validation of a job
    settings.py    a run's settings, new or from its config.toml; options.py: the section [run]
    trainer.py     epochs, validation, when to write a checkpoint, when to stop
    step.py        one optimiser step: micro-batches, mixed precision, clipping, numbers that are not finite
    optim.py       parameter groups, optimisers, the learning rate as a function of the step
    checkpoint.py  weights and state on disk, a pair that belongs together whatever happens
    record.py      what a run says and writes while it trains
    stopping.py    signals that end a run after the step
    env.py         what env.json says
    dry_run.py     what `vtk train --dry-run` shows; model_card.py: what `vtk models show` does

Everything here runs in one process; what only the first of several may do is in record.py.
"""
