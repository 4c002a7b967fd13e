"""Every list format: the examples of the facts, round trips, and garbage."""

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vtk_cli.errors import DataError, UsageError, VtkError
from vtk_cli.formats import kenshohara, kinetics, mmaction2, slowfast, tsn
from vtk_cli.formats.known import FRAMES, LISTS, NAMES, list_files, list_format, recognise
from vtk_cli.formats.rows import ListRow


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def one(parsed):
    assert parsed.problems == []
    (row,) = parsed.rows
    return row


EXAMPLES = [
    ("mmaction2", "l.txt", "abseiling/0wR5jVB-WPk_000417_000427.mp4 0", ("abseiling/0wR5jVB-WPk_000417_000427.mp4", (0,))),
    ("mmaction2", "l.txt", "my clips/a b.mp4 0 3 17", ("my clips/a b.mp4", (0, 3, 17))),
    ("mmaction2", "l.txt", '"my clips/a 1" 4', ("my clips/a 1", (4,))),
    ("tsn", "l.txt", "v_ApplyEyeMakeup_g01_c01 163 0", ("v_ApplyEyeMakeup_g01_c01", (0,))),
    ("tsn", "l.txt", "abseiling/Tdd9inAW1VY_000361_000371 300 0", ("abseiling/Tdd9inAW1VY_000361_000371", (0,))),
    ("tsn", "l.txt", "cooking/yt-SSLy25MQb9g_307.mp4 91 264,311,7", ("cooking/yt-SSLy25MQb9g_307.mp4", (264, 311, 7))),
    ("videomae", "l.txt", "k400/my clip.mp4 0 -1", ("k400/my clip.mp4", ())),
    ("slowfast", "l.csv", "/data/k400/abseiling/x.mp4 0", ("/data/k400/abseiling/x.mp4", (0,))),
    ("slowfast", "l.csv", "/data/k400/abseiling/x.mp4", ("/data/k400/abseiling/x.mp4", ())),
    ("kinetics-csv", "l.csv", "testifying,---QUuC4vJs,84,94,train", ("---QUuC4vJs_000084_000094", ("testifying",))),
    ("kinetics-csv", "l.csv", 'label,youtube_id,time_start,time_end,split,is_cc\n"using segway",R6llTwEh07w,0,10,val,0', ("R6llTwEh07w_000000_000010", ("using segway",))),
    ("kinetics-csv", "l.csv", "label-name,youtube_id,time_start,time_end,split\nx,R6llTwEh07w,0,10,val", ("R6llTwEh07w_000000_000010", ("x",))),
    ("kinetics-csv", "l.csv", "--6bJUbfpnQ,17,27,test", ("--6bJUbfpnQ_000017_000027", ())),
    ("kinetics-csv", "l.csv", "youtube_id,time_start,time_end,split\n--6bJUbfpnQ,17,27,test", ("--6bJUbfpnQ_000017_000027", ())),
    ("kinetics-json", "l.json", '{"---QUuC4vJs":{"annotations":{"label":"testifying","segment":[84.0,94.0]},"duration":10.0,"subset":"train","url":"https://x"}}', ("---QUuC4vJs_000084_000094", ("testifying",))),
    ("kenshohara", "l.json", '{"labels":["A","B"],"database":{"v_A_g08_c01":{"subset":"training","annotations":{"label":"A"}}}}', ("v_A_g08_c01", ("A",))),
    ("ucf101", "trainlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1", ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", ("ApplyEyeMakeup",))),
    ("ucf101", "testlist02.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", ("ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", ("ApplyEyeMakeup",))),
    ("hmdb51", "brush_hair_test_split1.txt", "April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1 ", ("April_09_brush_hair_u_nm_np1_ba_goo_0.avi", ("brush_hair",))),
    ("jester", "l.csv", "34870;Drumming Fingers", ("34870", ("Drumming Fingers",))),
    ("something-v2", "l.json", '[{"id":"78687","label":"holding potato next to vicks","template":"Holding [something] next to [something]","placeholders":["potato","vicks"]}]', ("78687", ("Holding something next to something",))),
    ("moments", "l.csv", "blocking/getty-karate-video-id635808620_4.mp4,blocking,3,0", ("blocking/getty-karate-video-id635808620_4.mp4", ("blocking",))),
    ("mmaction2-json", "l.json", '[{"filename":"abseiling/x.mp4","label":0}]', ("abseiling/x.mp4", (0,))),
    ("mmaction2-json", "l.json", '[{"frame_dir":"a/x","total_frames":164,"label":[0, 3]}]', ("a/x", (0, 3))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "text", "expected"), EXAMPLES)
@pytest.mark.parametrize(("before", "after"), [("", "\n"), ("\ufeff", "\r\n"), ("\n", "  \n\n")])
def test_facts_examples_are_recognised_and_read(tmp_path, name, file, text, expected, before, after):
    path = write(tmp_path / file, before + text.replace("\n", "\r\n" if "\r" in after else "\n") + after)
    assert recognise(path) == name
    row = one(LISTS[name].read(path))
    assert (row.path, row.labels) == expected


def test_every_list_format_has_an_example_here():
    assert {name for name, *_ in EXAMPLES} == set(LISTS)
    assert set(NAMES) == {"auto", "folders", *LISTS, *FRAMES}


def test_numbers_of_frames(tmp_path):
    assert one(tsn.read(write(tmp_path / "l", "v 163 0"))).frames == 163
    assert one(slowfast.read(write(tmp_path / "l", "a b.mp4 300 5"))) == ListRow(
        line=1, path="a b.mp4", labels=(5,), frames=300
    )
    text = '{"labels":["A"],"database":{"v":{"subset":"validation","annotations":{"label":"A","segment":[1,165]}}}}'
    row = one(kenshohara.read(write(tmp_path / "l", text)))
    assert (row.frames, row.splits) == (164, ("val",))
    assert one(mmaction2.read_frames(write(tmp_path / "l", "a b/v_1 164 0 3"))) == ListRow(
        line=1, path="a b/v_1", labels=(0, 3), frames=164
    )


def test_minus_one_stands_for_no_label(tmp_path):
    assert one(tsn.read(write(tmp_path / "l", "v 163 -1"))).labels == ()
    assert one(mmaction2.read_frames(write(tmp_path / "l", "v 163 -1"))).labels == ()


def test_kinetics_rows_know_their_split_and_seconds(tmp_path):
    row = one(kinetics.read_csv(write(tmp_path / "l", "testifying,---QUuC4vJs,84.0,94.0,validate\n")))
    assert (row.splits, row.start_seconds, row.end_seconds) == (("val",), 84, 94)


def test_columns_go_by_the_header(tmp_path):
    text = "split,time_end,youtube_id,label,time_start\nval,94,abc,eating,84\n"
    row = one(kinetics.read_csv(write(tmp_path / "l.csv", text)))
    assert (row.path, row.labels, row.splits, row.line) == ("abc_000084_000094", ("eating",), ("val",), 2)


def test_ucf101_classes_come_from_class_ind(tmp_path):
    write(tmp_path / "classInd.txt", "1 B\r\n2 A\r\n")
    parsed = LISTS["ucf101"].read(write(tmp_path / "trainlist02.txt", "A/v_A_g08_c01.avi 2\r\n"))
    assert (parsed.classes, one(parsed).labels, one(parsed).splits) == (("B", "A"), (1,), ("train2",))


def test_hmdb51_leaves_out_what_is_in_neither_set(tmp_path):
    text = "a [x].avi 1 \nb!.avi 2 \nc;.avi 0 \nd 5\n"
    parsed = LISTS["hmdb51"].read(write(tmp_path / "kick_ball_test_split3.txt", text))
    assert [(row.path, row.labels, row.splits) for row in parsed.rows] == [
        ("a [x].avi", ("kick_ball",), ("train3",)),
        ("b!.avi", ("kick_ball",), ("test3",)),
    ]
    assert [problem.line for problem in parsed.problems] == [4]


def test_something_takes_the_numbers_of_its_labels_file(tmp_path):
    write(tmp_path / "something-something-v2-labels.json", '{"Holding something": "1", "Closing something": "0"}')
    path = write(tmp_path / "something-something-v2-train.json", '[{"id": "1", "template": "Holding [something]"}]')
    parsed = LISTS["something-v2"].read(path)
    assert (parsed.classes, one(parsed).splits) == (("Closing something", "Holding something"), ("train",))
    write(tmp_path / "something-something-v2-labels.json", '{"Holding something": "1"}')
    with pytest.raises(DataError, match="labels"):
        LISTS["something-v2"].read(path)


def test_jester_takes_the_order_of_its_labels_file(tmp_path):
    write(tmp_path / "jester-v1-labels.csv", "Swiping Left\nDrumming Fingers\n")
    parsed = LISTS["jester"].read(write(tmp_path / "jester-v1-test.csv", "34870\n"))
    assert (parsed.classes, one(parsed).labels, one(parsed).splits) == (
        ("Swiping Left", "Drumming Fingers"),
        (),
        ("test",),
    )


def test_moments_takes_the_numbers_of_its_categories(tmp_path):
    write(tmp_path / "moments_categories.txt", "praying,1\nclapping,0\n")
    parsed = LISTS["moments"].read(write(tmp_path / "trainingSet.csv", "clapping/a, b.mp4,clapping,3,0"))
    assert (parsed.classes, one(parsed).path) == (("clapping", "praying"), "clapping/a, b.mp4")


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_slowfast_separator(tmp_path, separator):
    parsed = slowfast.read(write(tmp_path / "l.csv", f"a/x.mp4{separator}3\n{separator}\n"), separator)
    assert parsed.rows[0] == ListRow(line=1, path="a/x.mp4", labels=(3,))


def test_wrong_lines_are_named_and_the_rest_is_read(tmp_path):
    parsed = mmaction2.read_videos(write(tmp_path / "l", "a.mp4 0\nb.mp4\n\nc.mp4 x\nd.mp4 1\n"))
    assert [row.line for row in parsed.rows] == [1, 5]
    assert [str(problem).split(": ")[0] for problem in parsed.problems] == [f"{tmp_path}/l:2", f"{tmp_path}/l:4"]


def test_two_numbers_after_a_video_are_ambiguous(tmp_path):
    with pytest.raises(UsageError, match="--format tsn or --format mmaction2"):
        recognise(write(tmp_path / "l.txt", "test.mp4 0 3\nx.mp4 1 2\n"))


def test_one_wrong_line_does_not_hide_the_format(tmp_path):
    assert recognise(write(tmp_path / "l.txt", "a.mp4 0\nb.mp4 1\nc.mp4\n")) == "mmaction2"


@pytest.mark.parametrize("text", ["", "\n\n", "hello", "{}", "[]", '{"a": 1}', "[1, 2]", "<html>"])
def test_what_is_in_no_format(tmp_path, text):
    with pytest.raises(DataError):
        recognise(write(tmp_path / "l.txt", text))


def test_a_wrong_format_name_is_suggested():
    with pytest.raises(UsageError, match='Did you mean "kenshohara"'):
        list_format("kenshoara")


def test_list_files_go_by_their_names(tmp_path):
    for name in ("train.csv", "val.txt", "labels.json", "notes.txt", ".train.txt", "wave_test_split1.txt", "train.mp4"):
        write(tmp_path / name, "x")
    (tmp_path / "test.csv").mkdir()
    assert [path.name for path in list_files(tmp_path)] == ["train.csv", "val.txt", "wave_test_split1.txt"]


PATHS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1).filter(
    lambda t: t == t.strip() and t.strip("\ufeff")
)
NUMBERS = st.lists(st.integers(0, 999), min_size=1, max_size=4, unique=True).map(tuple)


def round_trip(folder, text, read):
    path = folder / "round.txt"
    path.write_bytes(text.encode())
    parsed = read(path)
    assert parsed.problems == []
    return parsed.rows


@pytest.mark.parametrize("kind", ["mmaction2", "mmaction2-json", "tsn", "slowfast", "slowfast,", "kenshohara"])
@given(rows=st.lists(st.tuples(PATHS, NUMBERS, st.integers(0, 9999)), max_size=5, unique_by=lambda row: row[0]))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path, kind, rows):
    several = not kind.startswith(("slowfast", "kenshohara"))
    given_rows = [
        ListRow(line=i, path=p, labels=ls if several else ls[:1], frames=n) for i, (p, ls, n) in enumerate(rows, 1)
    ]
    classes = [f"c{number}" for number in range(1000)]
    writers = {
        "mmaction2": (mmaction2.write_videos, mmaction2.read_videos),
        "mmaction2-json": (mmaction2.write_json, mmaction2.read_json),
        "tsn": (tsn.write, tsn.read),
        "slowfast": (slowfast.write, slowfast.read),
        "slowfast,": (lambda r: slowfast.write(r, ","), lambda p: slowfast.read(p, ",")),
        "kenshohara": (lambda r: kenshohara.write(r, classes), kenshohara.read),
    }
    write_rows, read = writers[kind]
    try:
        text = write_rows(given_rows)
    except UsageError:
        return  # the format cannot hold such a path, and says so instead of writing something else
    found = round_trip(tmp_path, text, read)
    assert [row.path for row in found] == [row.path for row in given_rows]
    labels = [tuple(classes.index(x) if isinstance(x, str) else x for x in row.labels) for row in found]
    assert labels == [row.labels for row in given_rows]
    if kind not in ("mmaction2", "mmaction2-json"):
        assert [row.frames for row in found] in (
            [row.frames for row in given_rows],
            [row.frames or None for row in given_rows],
        )


@given(
    rows=st.lists(
        st.tuples(
            st.text("abcXYZ019-_", min_size=11, max_size=11),
            st.integers(0, 99_999),
            st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1).filter(lambda t: t == t.strip()),
            st.sampled_from(["train", "val", "test"]),
        )
    ),
    labelled=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_kinetics_round_trip(tmp_path, rows, labelled):
    given_rows = [
        ListRow(
            line=0,
            path=kinetics.clip_name(name, start, start + 10),
            labels=(label,) if labelled else (),
            splits=(split,),
        )
        for name, start, label, split in rows
    ]
    found = round_trip(tmp_path, kinetics.write_csv(given_rows), kinetics.read_csv)
    assert [(r.path, r.labels, r.splits) for r in found] == [(r.path, r.labels, r.splits) for r in given_rows]


@pytest.mark.parametrize(
    ("writer", "row"),
    [
        (mmaction2.write_videos, ListRow(line=1, path="a.mp4", labels=("name",))),
        (mmaction2.write_videos, ListRow(line=1, path="clip 3", labels=(1,))),
        (tsn.write, ListRow(line=1, path="a.mp4", labels=(1,))),
        (slowfast.write, ListRow(line=1, path="a b.mp4", labels=(1,))),
        (slowfast.write, ListRow(line=1, path="a.mp4", labels=(1, 2))),
        (kinetics.write_csv, ListRow(line=1, path="a.mp4", labels=("x",))),
        (lambda rows: kenshohara.write(rows, ["a"]), ListRow(line=1, path="a", labels=(0, 0))),
    ],
)
def test_what_a_format_cannot_hold_is_refused(writer, row):
    with pytest.raises(UsageError):
        writer([row])


@pytest.mark.parametrize("name", [*LISTS, *FRAMES])
@given(
    content=st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | st.text('{}[]":,0123456789 \n;."labels"database').map(str.encode)
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_gives_rows_problems_or_one_error(tmp_path, name, content):
    file = {"hmdb51": "x_test_split1.txt", "ucf101": "trainlist01.txt"}.get(name, "train.txt")
    path = tmp_path / file
    path.write_bytes(content)
    for action in ((LISTS | FRAMES)[name].read, recognise):
        with suppress(VtkError):
            action(path)


@pytest.mark.parametrize("name", ["kinetics-json", "kenshohara", "something-v2", "mmaction2-json"])
@given(
    value=st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "labels",
                        "database",
                        "annotations",
                        "label",
                        "segment",
                        "subset",
                        "id",
                        "template",
                        "filename",
                        "v1",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_of_the_wrong_shape(tmp_path, name, value):
    path = tmp_path / "train.json"
    path.write_text(json.dumps(value))
    for action in (LISTS[name].read, recognise):
        with suppress(VtkError):
            action(path)
