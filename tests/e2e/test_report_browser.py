"""The report in a real browser: it renders, its script runs, and nothing complains or leaves the machine."""

import re
import shutil
import subprocess

import pytest
from made_runs import make_run

from vtk_cli.report.page import write_report

SORT_BY_ACCURACY = """
<script>
const press = () => document.querySelectorAll("#classes th button")[2].click();
press();
const shares = () => [...document.querySelectorAll("#classes tbody tr")].map((row) => +row.cells[2].dataset.key);
document.body.dataset.down = shares();
press();
document.body.dataset.up = shares();
const broken = [...document.images].filter((image) => !image.complete || image.naturalWidth === 0).length;
document.body.dataset.images = `${document.images.length} images, ${broken} broken`;
document.body.dataset.width = `${document.documentElement.scrollWidth} ${innerWidth}`;
</script>
"""
POINT_AT_A_CELL = """
<script>
const picture = document.querySelector(".heat img");
const box = picture.getBoundingClientRect();
picture.dispatchEvent(new MouseEvent("mousemove", {
  clientX: box.left + (box.width * 0.5) / 80, clientY: box.top + (box.height * 0.5) / 80,
}));
</script>
"""


@pytest.fixture(scope="session")
def chromium():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium to look at the report")
    return path


@pytest.fixture
def browse(chromium, tmp_path):
    """The DOM after load, and what the console said."""

    def load(page, width=1200):
        file = tmp_path / "page.html"
        file.write_text(page)
        command = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
            f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},2000", "--enable-logging=stderr",
            "--dump-dom", f"file://{file}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout, re.findall(r"CONSOLE.*", done.stderr)

    return load


def with_script(page, script):
    """The page with a script of the test's, which its policy would forbid, so the policy goes."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    return page.replace("</body>", script + "</body>", 1)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    made = make_run(tmp_path_factory.mktemp("run"))
    write_report(made.run, made.workspace)
    return made.run.report.read_text()


def test_loads_as_it_is_without_a_word_in_the_console(browse, page):
    dom, console = browse(page)
    assert console == []
    assert "82.5" in dom
    assert dom.count("<svg") == 6


@pytest.mark.parametrize("width", [1200, 500])
def test_script_sorts_images_load_and_nothing_is_wider_than_the_window(browse, page, width):
    dom, console = browse(with_script(page, SORT_BY_ACCURACY), width)
    assert console == []
    down, up = (re.search(rf'data-{name}="([^"]*)"', dom)[1].split(",") for name in ("down", "up"))
    assert list(map(float, down)) == sorted(map(float, down), reverse=True)
    assert up == down[::-1]
    assert float(down[0]) > float(down[-1])
    assert re.search(r'data-images="\d\d+ images, 0 broken"', dom)
    content, window = map(int, re.search(r'data-width="(\d+) (\d+)"', dom).groups())
    assert content <= window


def test_pointing_at_a_large_matrix_names_the_cell(browse, tmp_path):
    classes = tuple(f"class <{k}> & more" for k in range(80))
    made = make_run(tmp_path / "run", classes=classes, clips=160, stores=False)
    write_report(made.run, made.workspace)
    dom, console = browse(with_script(made.run.report.read_text(), POINT_AT_A_CELL))
    assert console == []
    assert re.search(r"0 class &lt;0&gt; &amp; more: [12] recognised", dom)


def test_the_policy_stops_a_script_that_is_not_the_reports_own(browse, page):
    dom, console = browse(page.replace("</body>", "<script>document.title = 'owned'</script></body>"))
    assert "owned</title>" not in dom
    assert any("Content Security Policy" in line for line in console)
