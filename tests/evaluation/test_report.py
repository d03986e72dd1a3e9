"""The report: what is in the page, how large it gets, and that Chromium can use it."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paoncodec.errors import UsageError
from paoncodec.evaluation.anchors import anchor_file
from paoncodec.evaluation.coders import PaonCoder
from paoncodec.evaluation.curves import rate_at
from paoncodec.evaluation.pillow import PillowCoder
from paoncodec.evaluation.report import Choice, build
from paoncodec.evaluation.results import Result, load_result
from paoncodec.evaluation.runs import Options, evaluate, settings_of
from paoncodec.images import read_image

NAMES = ["tiny", "jpeg", "webp", "mbt2018"]


@pytest.fixture(scope="module")
def results(tmp_path_factory, pictures, variable_weights) -> list[Result]:
    """A model and two peers on three pictures, which were kept, and a published curve."""
    folder = tmp_path_factory.mktemp("results")
    runs = {
        "tiny": settings_of([PaonCoder(str(variable_weights))]),
        "jpeg": settings_of([PillowCoder("jpeg")], (10, 30, 60, 80, 95)),
        "webp": settings_of([PillowCoder("webp")], (10, 50, 90)),
    }
    found = []
    for name, settings in runs.items():
        options = Options(ms_ssim=False, keep=folder / "pictures")
        result = evaluate(pictures, settings, options, name=name, command=["paoncodec", "eval"])
        (folder / f"{name}.json").write_text(json.dumps({**result, "pictures": "pictures"}))
        found.append(load_result(folder / f"{name}.json"))
    return [*found, load_result(anchor_file("mbt2018"))]


@pytest.fixture(scope="module")
def page(results) -> str:
    command = ["paoncodec", "report", "a b"]
    return build(results, Choice(title="A <title>", reference="mbt2018", command=command))


def data_of(page: str) -> dict:
    """What the page's script draws."""
    [text] = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    return json.loads(text)


def test_it_is_one_file_that_asks_for_nothing(page):
    without_data = re.sub(r'<script id="data".*?</script>', "", page, flags=re.S)
    assert not re.findall(r"(?:src|href)=[\"']?(?!data:)[^\"' >]*[/.]", without_data)
    assert set(re.findall(r"https?://[^\s\"']+", without_data)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in page
    assert "{{" not in without_data
    assert "<title>A &lt;title&gt;</title>" in page


def test_codecs_and_their_figures(page, results):
    data = data_of(page)
    assert [codec["name"] for codec in data["codecs"]] == NAMES
    assert [codec["kind"] for codec in data["codecs"]] == ["model", "peer", "peer", "anchor"]
    assert data["reference"] == "mbt2018"
    assert data["command"] == "paoncodec report 'a b'"
    first = data["codecs"][0]
    assert first["command"] == "paoncodec eval"
    assert [p["bpp"] for p in first["points"]] == results[0].figures["bpp"]
    assert first["conditions"]["versions"]["torch"]
    assert data["codecs"][3]["bd_rate"]["psnr"] == pytest.approx(0)
    assert "3 point(s)" in data["codecs"][2]["bd_rate"]["psnr"]


def test_published_curves_of_other_pictures_are_pointed_out(result_file):
    points = [(0.1 * i, 28.0 + i) for i in range(1, 6)]
    about = {"schema": "paoncodec-eval-1", "dataset": {"name": "mine", "sha256": "a"}}
    ours = result_file("ours", points, codecs=[{"kind": "paoncodec"}], **about)
    jpeg = result_file("jpeg", points, codecs=[{"kind": "pillow"}], **about)
    data = data_of(build([ours, jpeg, load_result(anchor_file("mbt2018"))], Choice()))
    assert data["reference"] == "jpeg"
    assert data["elsewhere"] == ["mbt2018"]


def test_rows_say_what_is_saved_at_equal_psnr(results):
    data = data_of(build(results, Choice(reference="jpeg")))
    jpeg = [row for row in data["rows"] if row["codec"] == 1]
    assert len(jpeg) == 15
    assert all(row["saved"] == pytest.approx(0, abs=1e-6) for row in jpeg)
    for row in (row for row in data["rows"] if row["codec"] == 2 and row["saved"] is not None):
        curve = results[1].by_image("psnr")[row["image"]]
        assert row["saved"] == pytest.approx(100 * (1 - row["bpp"] / rate_at(row["psnr"], curve)))
    assert any(row["saved"] for row in data["rows"] if row["codec"] == 2)


def decoded(uri: str) -> np.ndarray:
    kind, text = uri.split(",", 1)
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image.convert("RGB"))


def test_pictures_are_the_very_pixels_at_about_one_rate(page, results, pictures):
    gallery = data_of(page)["gallery"]
    assert [one["image"] for one in gallery] == list(pictures)
    lead = results[0]
    for one in gallery:
        original, ours, *peers = one["versions"]
        before = np.broadcast_to(read_image(pictures[one["image"]]), (*_size(one), 3))
        assert np.array_equal(decoded(original["uri"]), before)
        [row] = [r for r in lead.rows if r["image"] == one["image"] and r["quality"] == 4]
        assert (ours["codec"], ours["bytes"]) == (0, row["bytes"])
        after = read_image(lead.path.parent / "pictures" / row["decoded"])
        assert np.array_equal(decoded(ours["uri"]), np.broadcast_to(after, (*_size(one), 3)))
        for peer in peers:
            rates = [r["bpp"] for r in results[peer["codec"]].rows if r["image"] == one["image"]]
            distance = [abs(math.log(rate / row["bpp"])) for rate in rates]
            assert abs(math.log(peer["bpp"] / row["bpp"])) == min(distance)


def _size(one: dict) -> tuple[int, int]:
    return one["height"], one["width"]


def test_a_quality_can_be_chosen(results):
    gallery = data_of(build(results, Choice(quality=6)))["gallery"]
    assert {one["versions"][1]["quality"] for one in gallery} == {6}
    with pytest.raises(UsageError, match="choose one of 1, 2, 3, 4, 5, 6"):
        build(results, Choice(quality=2.5))


def test_pictures_are_bounded_in_number_and_size(results):
    some = data_of(build(results, Choice(pictures=1)))
    assert len(some["gallery"]) == 1
    assert some["gallery_note"].startswith("1 of 3 pictures")
    none = build(results, Choice(megabytes=0.001))
    assert data_of(none)["gallery"] == []
    assert len(none) < 100_000


def test_a_large_picture_is_cut_to_its_middle(tmp_path):
    Image.new("RGB", (1100, 40), (10, 20, 30)).save(tmp_path / "wide.png")
    options = Options(ms_ssim=False, keep=tmp_path / "pictures")
    settings = settings_of([PillowCoder("jpeg")], (50,))
    result = evaluate({"wide.png": tmp_path / "wide.png"}, settings, options)
    (tmp_path / "jpeg.json").write_text(json.dumps({**result, "pictures": "pictures"}))
    [one] = data_of(build([load_result(tmp_path / "jpeg.json")]))["gallery"]
    assert (one["width"], one["height"], one["whole"]) == (1024, 40, False)
    assert decoded(one["versions"][0]["uri"]).shape == (40, 1024, 3)


def test_without_kept_pictures_it_says_so():
    data = data_of(build([load_result(anchor_file("vtm"))]))
    assert data["gallery"] == []
    assert "--keep" in data["gallery_note"]


def test_names_cannot_break_out_of_the_page(result_file):
    evil = "</script><script>alert(1)</script>{{script}}"
    page = build([result_file("evil", [(0.1, 30.0)], description=evil)])
    assert evil not in page
    assert data_of(page)["codecs"][0]["description"] == evil


def test_a_reference_that_is_not_there_is_refused(results):
    with pytest.raises(UsageError, match="tiny, jpeg, webp, mbt2018"):
        build(results, Choice(reference="nobody"))
    with pytest.raises(UsageError, match="nothing to report"):
        build([])


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Headless Chromium, driven through Debian's chromedriver."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("no Chromium with chromedriver here: apt-get install chromium chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sockets that selenium leaves to be collected
        driver = webdriver.Chrome(options=options, service=Service(chromedriver))
        yield driver
        driver.quit()


def sized(browser, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.fixture(params=[(1200, 900), (390, 844)], ids=["desktop", "phone"])
def opened(browser, page, tmp_path, request):
    """The page from its file, in a window of that size; afterwards nothing may have gone wrong."""
    path: Path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    sized(browser, *request.param)
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def css(browser, selector: str) -> list:
    return browser.find_elements("css selector", selector)


def test_the_page_fits_and_draws_every_curve(opened):
    assert opened.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    drawn = [group.get_attribute("data-name") for group in css(opened, "#chart g[data-codec]")]
    assert drawn == NAMES[::-1]  # the first lies above the others
    assert opened.find_element("css selector", "h1").text == "A <title>"


def test_toggles_hide_curves_and_bring_them_back(opened):
    button = css(opened, "#legend button")[1]
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert css(opened, '#chart g[data-name="jpeg"]') == []
    assert len(css(opened, "#chart g[data-codec]")) == len(NAMES) - 1
    button.click()
    assert len(css(opened, '#chart g[data-name="jpeg"]')) == 1


def test_pointing_at_a_point_tells_its_values(opened):
    from selenium.webdriver.common.action_chains import ActionChains

    point = css(opened, '#chart g[data-name="tiny"] path[transform]')[2]
    opened.execute_script("document.getElementById('chart').scrollIntoView({block: 'center'})")
    ActionChains(opened).move_to_element(point).perform()
    [tip] = css(opened, ".tip")
    assert tip.is_displayed()
    assert "tiny" in tip.text
    assert "bpp" in tip.text
    assert "dB" in tip.text


def test_the_other_view_shows_savings(opened):
    css(opened, "#views button")[-1].click()
    assert "rate saved against mbt2018, %" in css(opened, "#chart svg")[0].text


def test_the_slider_moves(opened):
    def edge() -> str:
        return opened.execute_script("return document.getElementById('over').style.clipPath")

    assert edge().startswith("inset(0px 50%")
    opened.execute_script(
        "const s = document.getElementById('split'); s.value = 20;"
        "s.dispatchEvent(new Event('input'))"
    )
    assert edge().startswith("inset(0px 80%")
    from selenium.webdriver.common.action_chains import ActionChains

    slider = css(opened, "#slider")[0]
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
    width = slider.size["width"]
    drag = ActionChains(opened).move_to_element(slider).click_and_hold()
    drag.move_by_offset(int(width * 0.3), 0).release().perform()
    left = float(re.findall(r"inset\(0px ([\d.]+)%", edge())[0])
    assert left == pytest.approx(20, abs=3)


def test_a_tap_moves_the_detail_in_every_pane(opened):
    from selenium.webdriver.common.action_chains import ActionChains

    def places() -> set[tuple[str, str]]:
        return {(image.get_attribute("style")) for image in css(opened, "#crops .pane img")}

    css(opened, '#zooms button[data-key="8"]')[0].click()
    before = places()
    slider = css(opened, "#slider")[0]
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
    ActionChains(opened).move_to_element_with_offset(slider, -12, -8).click().perform()
    after = places()
    assert len(css(opened, "#crops .pane")) == 4
    assert len(before) == len(after) == 1  # all show the same place
    assert before != after


def test_another_picture_is_shown_when_it_is_chosen(opened):
    first = css(opened, "#over")[0].get_attribute("src")
    css(opened, "#picture option")[1].click()
    assert css(opened, "#over")[0].get_attribute("src") != first
    assert css(opened, "#over")[0].get_attribute("alt") == "b.png, tiny"


def test_tables_sort_by_a_column(opened):
    def column(index: int) -> list[str]:
        return [cell.text for cell in css(opened, f"#images tbody td:nth-child({index})")]

    opened.execute_script(
        "const s = document.getElementById('images-codec'); s.value = 1;"
        "s.dispatchEvent(new Event('change'))"
    )
    heads = css(opened, "#images th button")
    opened.execute_script("arguments[0].click()", heads[1])
    sizes = [int(text) for text in column(2)]
    assert sizes == sorted(sizes, reverse=True)
    opened.execute_script("arguments[0].click()", heads[1])
    assert [int(text) for text in column(2)] == sizes[::-1]
    assert css(opened, "#images th")[1].get_attribute("aria-sort") == "ascending"
    assert len(column(1)) == 3
