import errno
import os
import signal
from dataclasses import replace

import pytest
import torch
import toy
from safetensors.torch import load_file

from vtk_cli.errors import DataError, Interrupted, PluginError
from vtk_cli.run_dir import RunDir
from vtk_cli.train.options import RunOptions
from vtk_cli.train.step import NotFiniteError


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run of 9 steps in 3 epochs that nothing disturbs: its log and weights."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    toy.make_trainer(folder).run()
    return toy.trace(folder), weights(folder, "last"), weights(folder, "best")


def weights(folder, name):
    return load_file(folder / "checkpoints" / f"{name}.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def interrupt_at(loader, batch, number=signal.SIGTERM):
    """Send this process a signal while the loader reads its n-th batch."""
    original, seen = loader.batch, []

    def read(epoch, numbers):
        seen.append(epoch)
        if len(seen) == batch:
            os.kill(os.getpid(), number)
        return original(epoch, numbers)

    loader.batch = read
    return loader


def test_the_loss_goes_down_and_the_log_says_so(tmp_path):
    task = toy.make_task(replace(toy.RECIPE, epochs=12, milestones=()), options=RunOptions(log_every=3))
    toy.make_trainer(tmp_path / "run", task).run()
    run = RunDir(tmp_path / "run")
    epochs = list(run.read_log("epoch"))
    assert epochs[-1]["train_loss"] < 0.7 * epochs[0]["train_loss"]
    assert epochs[-1]["val_top1"] == 1.0
    assert [e["step"] for e in epochs] == [3 * (i + 1) - 1 for i in range(12)]
    steps = list(run.read_log("step"))
    assert [s["step"] for s in steps] == [3 * (i + 1) - 1 for i in range(12)]
    assert steps[0]["loss"] == pytest.approx(epochs[0]["train_loss"])
    assert all(0 <= s["wait_share"] <= 1 and s["clips_per_second"] > 0 and s["seconds"] > 0 for s in steps)
    info = run.info()
    assert info.status == "finished"
    assert info.best["top1"] == 1.0
    assert info.best["epoch"] == next(e["epoch"] for e in epochs if e["val_top1"] == 1.0)


def test_best_keeps_the_weights_of_the_best_epoch(tmp_path):
    scores = iter([0.2, 0.9, 0.9])
    task = toy.make_task(validate=lambda model, batches: {"loss": 1.0, "top1": next(scores)})
    seen = []
    trainer = toy.make_trainer(tmp_path / "run", task)
    save = trainer.record.save

    def spy(tensors, state, *, best=False):
        seen.append({k: v.clone() for k, v in tensors.items()})
        save(tensors, state, best=best)

    trainer.record.save = spy
    trainer.run()
    assert same(weights(tmp_path / "run", "best"), seen[1])
    assert same(weights(tmp_path / "run", "last"), seen[2])
    assert RunDir(tmp_path / "run").info().best == {"epoch": 1, "loss": 1.0, "top1": 0.9}


def test_without_validation_there_is_only_the_last(tmp_path):
    toy.make_trainer(tmp_path / "run", toy.make_task(validation=None)).run()
    assert not (tmp_path / "run" / "checkpoints" / "best.safetensors").exists()
    assert RunDir(tmp_path / "run").info().best == {}
    assert RunDir(tmp_path / "run").info().status == "finished"
    assert not any("val_loss" in entry for entry in RunDir(tmp_path / "run").read_log("epoch"))


def test_validation_comes_every_so_often_and_after_the_last_epoch(tmp_path):
    task = toy.make_task(options=RunOptions(validate_every=2))
    toy.make_trainer(tmp_path / "run", task).run()
    assert ["val_top1" in e for e in RunDir(tmp_path / "run").read_log("epoch")] == [False, True, True]


@pytest.mark.parametrize("batch", range(1, 16))
def test_a_run_stopped_anywhere_goes_on_to_the_bit(tmp_path, undisturbed, batch):
    log, last, best = undisturbed
    folder = tmp_path / "run"
    with pytest.raises(Interrupted, match="Go on with: vtk train --resume run") as stopped:
        toy.make_trainer(folder, toy.make_task(train=interrupt_at(toy.ToyLoader(), batch))).run()
    assert stopped.value.exit_code == 75
    assert RunDir(folder).info().status == "interrupted"
    torch.manual_seed(batch)  # whatever generators hold when the run goes on does not matter
    torch.rand(batch)
    toy.make_trainer(folder, resume=True).run()
    assert toy.trace(folder) == log
    assert same(weights(folder, "last"), last)
    assert same(weights(folder, "best"), best)
    assert RunDir(folder).info().status == "finished"


def test_a_stop_in_validation_validates_again(tmp_path, undisturbed):
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        toy.make_trainer(folder, toy.make_task(validation=interrupt_at(toy.ToyLoader(clips=9), 2))).run()
    assert [e["epoch"] for e in RunDir(folder).read_log("epoch")] == []
    task = toy.make_task()
    toy.make_trainer(folder, task, resume=True).run()
    assert [epoch for epoch, _ in task.train.asked] == [1, 2], "the trained epoch is not read again"
    assert toy.trace(folder) == undisturbed[0]


def test_a_run_stopped_at_every_step_goes_on_to_the_bit(tmp_path, undisturbed):
    folder, stops = tmp_path / "run", 0
    while True:
        task = toy.make_task(train=interrupt_at(toy.ToyLoader(), 1, signal.SIGUSR1))
        try:
            toy.make_trainer(folder, task, resume=stops > 0).run()
        except Interrupted:
            stops += 1
        else:
            break
    assert stops >= 8
    assert toy.trace(folder) == undisturbed[0]
    assert same(weights(folder, "last"), undisturbed[1])


def test_means_over_several_steps_survive_a_stop(tmp_path):
    options = RunOptions(log_every=2)
    whole = tmp_path / "whole"
    toy.make_trainer(whole, toy.make_task(options=options)).run()
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        toy.make_trainer(folder, toy.make_task(options=options, train=interrupt_at(toy.ToyLoader(), 1))).run()
    toy.make_trainer(folder, toy.make_task(options=options), resume=True).run()
    assert toy.trace(folder) == toy.trace(whole)


def test_adam_and_fp16_resume_to_the_bit(tmp_path):
    recipe = replace(toy.RECIPE, optimizer="adamw", lr=0.01, clip_norm=1.0, schedule="cosine", warmup_epochs=0.5)
    options = RunOptions(precision="fp16", log_every=1, channels_last=True)
    whole, folder = tmp_path / "whole", tmp_path / "run"
    toy.make_trainer(whole, toy.make_task(recipe, options=options)).run()
    with pytest.raises(Interrupted):
        toy.make_trainer(folder, toy.make_task(recipe, options=options, train=interrupt_at(toy.ToyLoader(), 7))).run()
    toy.make_trainer(folder, toy.make_task(recipe, options=options), resume=True).run()
    assert toy.trace(folder) == toy.trace(whole)
    assert same(weights(folder, "last"), weights(whole, "last"))


def test_a_finished_run_goes_on_when_it_gets_more_epochs(tmp_path, undisturbed):
    folder = tmp_path / "run"
    toy.make_trainer(folder, toy.make_task(replace(toy.RECIPE, epochs=2))).run()
    toy.make_trainer(folder, resume=True).run()
    assert toy.trace(folder) == undisturbed[0]


def test_a_number_that_is_not_finite_leaves_a_checkpoint_of_the_step_before(tmp_path, undisturbed):
    loader = toy.ToyLoader()
    original = loader.batch

    def poisoned(epoch, numbers):
        if epoch == 1 and len(loader.asked) == 2:
            task.model.fc.weight.register_hook(lambda grad: grad * float("nan"))
            loader.asked.append((1, -1))
        return original(epoch, numbers)

    loader.batch = poisoned
    task = toy.make_task(train=loader)
    folder = tmp_path / "run"
    with pytest.raises(NotFiniteError, match="gradient norm of step 3"):
        toy.make_trainer(folder, task).run()
    info = RunDir(folder).info()
    assert info.status == "failed"
    assert "NotFiniteError" in list(RunDir(folder).read_log("event"))[-1]["message"]
    resumed = toy.make_trainer(folder, resume=True)
    assert resumed.steps == 3
    resumed.run()
    assert toy.trace(folder) == undisturbed[0]


def test_a_clip_that_cannot_be_read_leaves_a_checkpoint_too(tmp_path, undisturbed):
    loader = toy.ToyLoader()
    original, seen = loader.batch, []

    def damaged(epoch, numbers):
        seen.append(1)
        if len(seen) == 4:  # the second micro-batch of the second step
            raise DataError("The clip clip7 cannot be read.")
        return original(epoch, numbers)

    loader.batch = damaged
    folder = tmp_path / "run"
    with pytest.raises(DataError, match="clip7"):
        toy.make_trainer(folder, toy.make_task(train=loader)).run()
    resumed = toy.make_trainer(folder, resume=True)
    assert resumed.steps == 1
    resumed.run()
    assert toy.trace(folder) == undisturbed[0]
    assert same(weights(folder, "last"), undisturbed[1])


def saved_steps(trainer):
    """Runs it; returns at which steps it wrote a checkpoint."""
    saved, save = [], trainer.record.save

    def spy(*args, **kwargs):
        saved.append(trainer.steps)
        save(*args, **kwargs)

    trainer.record.save = spy
    trainer.run()
    return saved


@pytest.mark.parametrize(("every", "expected"), [(2, [2, 3, 4, 6, 6, 8, 9]), ("0", [3, 6, 9]), ("1h", [3, 6, 9])])
def test_checkpoints_within_an_epoch(tmp_path, every, expected):
    task = toy.make_task(options=RunOptions(checkpoint_every=every))
    assert saved_steps(toy.make_trainer(tmp_path / "run", task)) == expected


def test_checkpoints_come_after_a_time(tmp_path, monkeypatch):
    clock = iter(range(0, 100000, 40))
    monkeypatch.setattr("vtk_cli.train.trainer.time.monotonic", lambda: next(clock))
    task = toy.make_task(options=RunOptions(checkpoint_every="1min"), validation=None)
    assert len(saved_steps(toy.make_trainer(tmp_path / "run", task))) > 3


def test_a_full_disk_ends_the_run_with_the_reason(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    trainer = toy.make_trainer(folder)
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="No space left on device"):
            trainer.run()
    resumed = toy.make_trainer(folder, resume=True)
    assert resumed.steps in (3, 6)


def test_a_run_does_not_go_on_with_other_clips(tmp_path):
    folder = tmp_path / "run"
    toy.make_trainer(folder, toy.make_task(replace(toy.RECIPE, epochs=1))).run()
    with pytest.raises(DataError, match="the clips of the training split, or their labels, have changed"):
        toy.make_trainer(folder, toy.make_task(fingerprint="other"), resume=True)


def test_a_loader_shorter_than_it_says_is_refused(tmp_path):
    class Short(toy.ToyLoader):
        def __len__(self):
            return 9

    with pytest.raises(PluginError, match="as many batches as its length says"):
        toy.make_trainer(tmp_path / "run", toy.make_task(train=Short())).run()


def test_the_second_ctrl_c_ends_at_once(tmp_path):
    loader = toy.ToyLoader()
    original = loader.batch

    def read(epoch, numbers):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return original(epoch, numbers)

    loader.batch = read
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        toy.make_trainer(tmp_path / "run", toy.make_task(train=loader)).run()
    assert RunDir(tmp_path / "run").info().status == "interrupted"
    assert signal.getsignal(signal.SIGINT) is before
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_progress_line_says_what_matters(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("vtk_cli.console.PLAIN_SECONDS", 0.0)
    toy.make_trainer(tmp_path / "run").run()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("training:")]
    assert len(lines) >= 9
    for part in ("of 60", "clips/s", "left", "epoch 1/3", "loss ", "top-1 ", "lr 0.05", "waits "):
        assert part in lines[0], part
