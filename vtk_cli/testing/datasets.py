r"""The contract of a dataset recipe as tests: subclass `DatasetTests`, give `recipe` and `sample`, inherit them all.

    class TestMine(DatasetTests):
        recipe = RECIPE

        def sample(self, raw: Path) -> None:
            (raw / "train.csv").write_text("clip,label\na.mp4,waving\n")

`sample` writes a few lines of every annotation file as they lie in raw/ after fetching, so nothing is downloaded.
"""

import re
from pathlib import Path, PurePosixPath
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from vtk_cli.api.datasets import DatasetRecipe, VideoRow
from vtk_cli.errors import VtkError


class DatasetTests:
    """What `vtk download` relies on."""

    recipe: ClassVar[DatasetRecipe]

    def sample(self, raw: Path) -> None:
        """Write annotation files with at least one row for every split."""
        raise NotImplementedError

    @pytest.fixture
    def raw(self, tmp_path: Path) -> Path:
        folder = tmp_path / "raw"
        folder.mkdir()
        self.sample(folder)
        return folder

    @pytest.fixture
    def rows(self, raw: Path) -> list[VideoRow]:
        return list(self.recipe.rows(raw, self.recipe.splits))

    def test_classes_differ_and_keep_their_order(self) -> None:
        classes = self.recipe.classes()
        assert classes
        assert len(set(classes)) == len(classes)
        assert all(name and name == name.strip() and "\n" not in name for name in classes)
        assert self.recipe.classes() == classes

    def test_the_roles_are_splits(self) -> None:
        splits = self.recipe.splits
        assert len(set(splits)) == len(splits)
        assert {self.recipe.train_split, self.recipe.val_split, self.recipe.test_split} <= set(splits)
        assert all(re.fullmatch(r"[A-Za-z0-9_-]+", split) for split in splits)

    def test_words_for_people(self) -> None:
        assert self.recipe.title
        assert self.recipe.label_order
        assert self.recipe.licence
        assert all(note.endswith(".") for note in self.recipe.notes)

    def test_sources_can_be_fetched(self) -> None:
        for source in self.recipe.sources(self.recipe.splits):
            parts = urlsplit(source.url)
            assert parts.scheme in ("http", "https"), source.url
            assert parts.netloc, source.url
            assert not parts.fragment, source.url
            assert any(source.url.startswith(host) for host in self.recipe.hosts), f"--mirror misses {source.url}"
            assert source.split in ("", *self.recipe.splits)
            assert source.bytes is None or source.bytes > 0
            assert source.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", source.sha256)
            assert source.md5 is None or re.fullmatch(r"[0-9a-f]{32}", source.md5)

    def test_sources_are_kept_apart_below_raw(self) -> None:
        paths = [source.path for source in self.recipe.sources(self.recipe.splits)]
        assert len(set(paths)) == len(paths)
        assert all(_is_below(path) for path in paths)

    def test_fewer_splits_need_no_other_sources(self) -> None:
        every = self.recipe.sources(self.recipe.splits)
        for split in self.recipe.splits:
            assert all(source in every for source in self.recipe.sources([split]))

    def test_an_annotation_is_fetched_or_the_set_is_made(self) -> None:
        kinds = {source.kind for source in self.recipe.sources(self.recipe.splits)}
        assert "annotation" in kinds or self.recipe.generate is not None

    def test_rows_are_usable(self, rows: list[VideoRow]) -> None:
        num_classes = len(self.recipe.classes())
        assert len({row.id for row in rows}) == len(rows)
        assert len({row.path for row in rows}) == len(rows)
        for row in rows:
            assert row.id not in ("", ".", ".."), row
            assert not set(row.id) & set("/\\\0\n"), row
            assert len(row.id.encode()) <= 200, row
            assert _is_below(row.path), row
            assert row.splits, row
            assert set(row.splits) <= set(self.recipe.splits), row
            assert all(0 <= label < num_classes for label in row.labels), row

    def test_every_split_has_rows_of_its_own(self, raw: Path, rows: list[VideoRow]) -> None:
        for split in self.recipe.splits:
            alone = list(self.recipe.rows(raw, [split]))
            assert alone, f"the sample has no row of {split}"
            assert {row.splits for row in alone} == {(split,)}
            assert {row.id for row in alone} == {row.id for row in rows if split in row.splits}

    def test_the_split_for_training_has_labels(self, rows: list[VideoRow]) -> None:
        for split in (self.recipe.train_split, self.recipe.val_split, self.recipe.test_split):
            assert any(row.labels for row in rows if split in row.splits), f"no labels in {split}"

    def test_a_clip_of_an_archive_finds_its_row(self, rows: list[VideoRow]) -> None:
        if self.recipe.generate is not None:
            return
        for row in rows:
            assert self.recipe.clip_path(row.path) == row.path
            assert self.recipe.clip_path(f"./some/folder/{row.path}") == row.path

    def test_what_is_no_clip_is_passed_over(self, rows: list[VideoRow]) -> None:
        path = PurePosixPath(rows[0].path)
        for member in (str(path.with_name(f"._{path.name}")), "readme.txt", "folder/", ".DS_Store"):
            assert self.recipe.clip_path(member) is None, member

    def test_without_its_annotation_it_says_what_is_missing(self, tmp_path: Path) -> None:
        if self.recipe.generate is not None:
            return
        with pytest.raises(VtkError, match="should"):
            list(self.recipe.rows(tmp_path, self.recipe.splits))


def _is_below(path: str) -> bool:
    pure = PurePosixPath(path)
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts and "\\" not in path
