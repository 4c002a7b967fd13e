"""The report as a document: whole, escaped, self-contained, and saying what is missing."""

import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from made_runs import make_run

from vtk_cli.report.page import render, write_report

VOID = {"meta", "img", "br", "hr", "link", "input"}
NASTY = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "a & b", "naïve 打籃球")


class Outline(HTMLParser):
    """Checks that every element is closed in its turn, and keeps text, attributes and ids."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.ids, self.hrefs = [], [], [], set(), set()
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.append((tag, name, value))
            if name == "id":
                assert value not in self.ids
                self.ids.add(value)
            if name == "href":
                self.hrefs.add(value)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    found.close()
    assert found.open == []
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(made):
    return render(made.run, made.workspace)


def test_is_well_formed_and_complete(page):
    found = outline(page)
    assert {"curves", "test", "confusion", "classes", "clips", "configuration", "environment", "reproduce"} <= found.ids
    for words in (
        "stnet",
        "validation top-1",
        "82.5",
        "25 segments",
        "2 clips could not be read",
        "Most often confused",
    ):
        assert words in found.text
    assert found.tags.count("svg") == 6  # five curves and the matrix


def test_needs_nothing_from_outside(page):
    found = outline(page)
    assert all(href.startswith("#") and href[1:] in found.ids for href in found.hrefs)
    sources = [value for _, name, value in found.attributes if name in ("src", "srcset", "data", "action", "poster")]
    assert sources
    assert all(value.startswith("data:image/") for value in sources)
    assert "link" not in found.tags
    assert "url(" not in page
    assert "@import" not in page
    assert "http://" not in page
    assert "https://" not in page
    policy = next(
        value for tag, name, value in found.attributes if tag == "meta" and name == "content" and "src" in value
    )
    assert policy.startswith("default-src 'none'")


def test_is_small(made):
    assert write_report(made.run, made.workspace) == made.run.report.stat().st_size < 1_500_000


def test_names_are_text_wherever_they_come_from(tmp_path):
    made = make_run(tmp_path, classes=NASTY, model="a<b", stores=False)
    made.run.config.write_text('[model]\nname = "</td><script>x"  # <origin>\n')
    made.run.write_env({"command": "vtk <i>", "<key>": "<value>"})
    page = render(made.run, made.workspace)
    found = outline(page)
    assert found.tags.count("script") == 1
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    for name in (*NASTY, "a<b", '"</td><script>x"', "<origin>", "<key>", "vtk <i>"):
        assert name in found.text


def test_names_are_text_in_a_large_matrix(tmp_path):
    classes = (*NASTY, *(f"class {k}" for k in range(100)))
    made = make_run(tmp_path, classes=classes, stores=False, clips=300)
    found = outline(render(made.run, made.workspace))
    assert found.tags.count("script") == 1
    listed = next(value for _, name, value in found.attributes if name == "data-classes")
    assert tuple(json.loads(listed)) == classes
    counts = json.loads(next(value for _, name, value in found.attributes if name == "data-counts"))
    assert sum(n for _, _, n in counts) == 300


def test_shows_clips_that_were_right_and_the_surest_wrong_ones(page):
    found = outline(page)
    cards = [value for tag, name, value in found.attributes if tag == "article" and name == "class"]
    assert cards == ["clip bad"] * 7 + ["clip"] * 4
    images = [value for tag, name, value in found.attributes if tag == "img" and name == "alt"]
    assert sum(alt.startswith("frames of") for alt in images) >= 11 * 5
    assert sum(alt.startswith("flow of") for alt in images) == 11 * 7


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda made: shutil.rmtree(made.run.scores), "has not been tested yet"),
        (lambda made: (made.run.path / "log.jsonl").unlink(), "Nothing was logged yet"),
        (lambda made: (made.run.path / "env.json").unlink(), "has no env.json"),
        (lambda made: made.run.config.unlink(), "has no config.toml"),
        (lambda made: shutil.rmtree(made.run.checkpoints), "no checkpoint"),
        (lambda made: shutil.rmtree(made.workspace.root / "demo"), "the dataset is not in this workspace"),
        (lambda made: (made.run.scores / "test.npz").write_bytes(b"PK cut off"), "Run vtk test again"),
        (lambda made: (made.run.scores / "test.json").write_text("[]"), "Run vtk test again"),
    ],
)
def test_what_is_missing_is_said(tmp_path, change, words):
    made = make_run(tmp_path, stores=False)
    change(made)
    assert words in outline(render(made.run, made.workspace)).text.replace("`", "")


def test_scores_that_do_not_fit_the_run_are_refused_in_words(tmp_path):
    made = make_run(tmp_path, stores=False)
    np.savez(made.run.scores / "test.npz", ids=np.array(["a"]), scores_BK=np.zeros((1, 9)), labels=np.array([0]))
    assert "scores of shape (1, 9) for 1 clips and 4 classes" in outline(render(made.run, made.workspace)).text


def test_clips_come_from_the_videos_where_no_store_is(tmp_path):
    from vtk_cli.datasets import demo

    made = make_run(tmp_path, stores=False, clips=8)
    videos = made.workspace.dataset("demo").videos / "test"
    videos.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for video in made.ids[:6]:
        (videos / f"{video}.mp4").write_bytes(demo.encode(demo.draw_scene(0, rng)))
    found = outline(render(made.run, made.workspace))
    assert [n for _, n, v in found.attributes if n == "alt" and v.startswith("frames of")]
    assert "There is no stored flow of these clips" in found.text


def test_several_labels_per_clip_are_said_to_need_another_table(tmp_path):
    made = make_run(tmp_path, stores=False)
    labels = np.zeros((40, 4), dtype=np.int64)
    np.savez(made.run.scores / "test.npz", ids=np.array(made.ids), scores_BK=np.zeros((40, 4)), labels=labels)
    found = outline(render(made.run, made.workspace))
    assert "several labels" in found.text
    assert "confusion" not in found.ids


def test_a_run_that_was_killed_in_its_first_epoch_is_drawn_over_steps(tmp_path):
    made = make_run(tmp_path, stores=False, tested=False)
    log = made.run.path / "log.jsonl"
    log.write_text("\n".join(log.read_text().splitlines()[:2]) + '\n{"kind": "st')
    found = outline(render(made.run, made.workspace))
    assert "steps" in found.text
    assert "no validation" in found.text
