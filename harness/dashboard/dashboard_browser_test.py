#!/usr/bin/python3
"""dashboard_browser_test.py RINGSIDE DASHBOARD_PAGES CASES OUT: the dashboard in a real browser, Chromium without a window.

RINGSIDE: the program; DASHBOARD_PAGES: makes a page with a history and a gate's report; CASES: the folder of case files;
OUT: a folder for pages and screenshots. Ends with 77 where there is no Chromium or no Selenium.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

SKIP = 77
try:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
except ImportError:
    print("skipped: no Selenium for this Python (python3-selenium)")
    sys.exit(SKIP)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
if not CHROMIUM or not DRIVER:
    print("skipped: no Chromium or no chromedriver (chromium, chromium-driver)")
    sys.exit(SKIP)

TABS = ["verdict", "correctness", "published", "speed", "traffic", "history", "provenance"]
HOSTILE = "</script><script>window.ran=1</script><img src=x onerror=window.ran=2> \"'` \u202eRTL\u200f \u2028&amp;"
OUTS = ["o", "dq", "dk", "dv"]


def rank(sent=4096, formula=None):
    traffic = {"bytes": sent, "messages": 2, "collectives": 0}
    return {"forward": traffic, "backward": traffic, "formula_forward": {**traffic, "bytes": formula or sent},
            "formula_backward": traffic, "memory": {"forward": 10000, "backward": 20000},
            "formula_memory": {"forward": 10000, "backward": 20000}, "peak_bytes": 50000, "iteration_s": 0.03,
            "compute_s": 0.02, "wait_s": 0.006, "hidden_s": 0.004, "other_s": 0.001}


def row(variant="ring", operator="softmax", dtype="fp32", seq=1024, dp=1, sp=2, status="pass", **more):
    """A row of results, as a sweep writes it. wrong: the tensor whose last rank is."""
    wrong, ranks = more.pop("wrong", None), dp * sp
    case = {"variant": variant, "operator": operator, "dtype": dtype, "math": "fp32", "batch": 2, "seq": seq, "heads": 8,
            "kv_heads": 8, "head_dim": 64, "value_dim": 64, "dp": dp, "sp": sp, "causal": True, "decay": "alibi",
            "fill": "gaussian", "seed": 1, "sample": 0, "window": 0, "cu_seqlens": "none", "padding": 0, "checks": "none",
            "expect": "pass"}
    tensors = {}
    for i, out in enumerate(OUTS):
        bad = out == wrong
        tensors[out] = {
            "max_abs": 0.012345678901, "mean_abs": 0.0012345, "relative_error": 1.7e-3, "bound_share": 7.5 if bad else 0.2 * i + 0.1,
            "row_share": 0.1, "bias": 1e-4, "bias_limit": 3e-3, "legacy": 0.0, "published": 0.0 if operator == "lightning" else None,
            "elements": 1 << 20, "telling": 1 << 19, "failed": 321 if bad else 0,
            "worst": {"batch": 1, "head": 3, "position": 77, "dim": 5, "rank": ranks - 1, "value": 3.25, "expected": 1.125, "bound": 0.5},
            "relative_error_by_rank": [1e-3] * (ranks - 1) + [0.5 if bad else 2e-3],
            "failed_by_rank": [0] * (ranks - 1) + [321 if bad else 0], "digest": "0" * 16}
    seconds = 0.03 * seq / 1024 / sp
    made = {"schema": 3, "name": f"{variant}-{operator}-{dtype}-fp32-b2-n{seq}-h8-hk8-d64-e64-dp{dp}-sp{sp}-causal-gaussian-seed1",
            "status": status, "reason": "", "case": case, "commit": "0123456789ab", "subject": "A commit", "started": "2026-01-02T03:04:05Z",
            "fingerprint": "f1", "machine": {"cpu": "A CPU", "compiler": "GNU"}, "communicator": "threads", "device": "cpu",
            "world": 0, "ftz": True, "findings": [{"rule": "element", "tensor": wrong, "text": f"{wrong}: 321 elements beyond their bound"}] if wrong else [], "checks": {},
            "tensors": tensors,
            "perf": {"repeat": 3, "forward": {"median_s": seconds / 3, "min_s": seconds / 3, "max_s": seconds / 3},
                     "forward_backward": {"median_s": seconds, "min_s": seconds, "max_s": seconds * 1.1},
                     "tokens_per_s_forward": seq / seconds, "tokens_per_s": seq / seconds, "useful_tflops": 0.05 * sp,
                     "matmul_tflops": 0.09 * sp, "oversubscribed": ranks > 2},
            "ranks": [rank() for _ in range(ranks)]}
    return {**made, **more}


def skipped(reason, **of):
    gone = {"findings", "checks", "tensors", "perf", "ranks"}
    return {k: v for k, v in row(status="skip", reason=reason, **of).items() if k not in gone}


def some_rows():
    rows = [row(variant, dtype=dtype, seq=seq, sp=sp) for variant in ("ring", "ring_zigzag", "ulysses")
            for dtype in ("fp32", "bf16") for seq in (1024, 2048, 4096) for sp in (1, 2, 4)]
    rows += [row("lasp_naive", "lightning", sp=sp) for sp in (1, 2)]
    rows.append(row("usp.2", sp=4, status="FAIL", wrong="dk"))
    rows.append(row("usp.2", sp=2, status="FAIL", findings=[{"rule": "traffic", "text": "traffic: rank 1 sent 8192 bytes"}], ranks=[rank(), rank(8192, 4096)]))
    rows.append(row("ring_striped", status="MISTRUSTED", findings=[{"rule": HOSTILE, "tensor": HOSTILE, "text": HOSTILE}], subject=HOSTILE, commit="b" * 12, started=HOSTILE,
                    machine={"cpu": HOSTILE, HOSTILE: "x"}, fingerprint="f2", checks={HOSTILE: {"outcome": HOSTILE, "note": HOSTILE}}))
    rows.append({**row("ulysses", sp=1, dp=2), "name": HOSTILE, "case": {**row(dp=2, sp=1)["case"], "variant": HOSTILE, "fill": HOSTILE}})
    rows.append(skipped(HOSTILE, variant="balanced"))
    odd = {"max_abs": True, "bound_share": [1], "worst": [], "relative_error_by_rank": 5, "failed": "many"}
    rows.append({**row(), "name": "odd", "case": {"seq": "x", "dp": 1e18}, "tensors": {"o": odd, "dq": 3}, "perf": {"forward_backward": {"median_s": "x"}},
                 "ranks": [5, {"compute_s": "x"}]})
    return rows


class Dashboard(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="ringside_dashboard.")
        options = Options()
        options.binary_location = CHROMIUM
        # as root only without its sandbox; the pages come from this test alone
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={cls.folder.name}/profile"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        cls.browser = webdriver.Chrome(options=options, service=Service(DRIVER))
        cls.browser.set_page_load_timeout(120)
        cls.page = cls.made("page", some_rows(), PAGES)

    @classmethod
    def tearDownClass(cls):
        cls.browser.quit()
        cls.folder.cleanup()

    @classmethod
    def made(cls, name, rows, maker=None):
        """A page of these rows, made by the program, or by `maker`."""
        results, page = f"{cls.folder.name}/{name}.jsonl", str(OUT / f"{name}.html")
        pathlib.Path(results).write_text("".join(json.dumps(r) + "\n" for r in rows))
        command = [maker, results, page] if maker else [PROGRAM, "dashboard", results, "-o", page]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return page

    def setUp(self):
        self.look(1280, "light")

    def tearDown(self):
        noise = [entry for entry in self.browser.get_log("browser")]
        self.assertEqual(noise, [], "the console is silent")

    def look(self, width, scheme, height=900):
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                     {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def eventually(self, holds):
        end = time.monotonic() + 60
        while not holds() and time.monotonic() < end:
            time.sleep(0.05)
        return holds()

    def open(self, address="", page=None):
        self.browser.get("about:blank")
        self.browser.get(f"file://{page or self.page}{address}")

    def js(self, code, *arguments):
        return self.browser.execute_script("return " + code, *arguments)

    def one(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def text(self):
        """Of the open view, with what is beyond a scrolled edge."""
        return self.js("document.querySelector('[role=tabpanel]:not([hidden])').textContent")

    def tile(self, status):
        return self.js("document.querySelector(`[data-status=${arguments[0]}] b`).textContent", status)

    def test_every_view_is_drawn_and_nothing_is_loaded(self):
        for tab in TABS:
            self.open(f"#tab={tab}")
            self.assertEqual(self.one("[role=tab][aria-selected=true]").get_attribute("id"), f"tab-{tab}")
            self.assertGreater(len(self.text()), 200, tab)
            self.assertEqual(self.js("performance.getEntriesByType('resource').length"), 0, tab)
        self.assertIn(f"Chart.js {self.js('Chart.version')}", self.js("document.querySelector('footer').textContent"))

    def test_charts_are_painted(self):
        painted = """[...document.querySelectorAll('canvas')].map(c => {
            const pixels = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
            const colours = new Set();
            for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 200) colours.add(pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2]);
            return colours.size; })"""
        for tab, count in (("speed", 2), ("history", 1)):
            for scheme in ("light", "dark"):
                self.look(1280, scheme)
                self.open(f"#tab={tab}")
                colours = self.js(painted)
                self.assertEqual(len(colours), count, tab)
                self.assertTrue(all(n > 20 for n in colours), f"{tab}: {colours}")

    def test_tabs_by_click_and_by_keys(self):
        self.open()
        for tab in TABS:
            self.one(f"#tab-{tab}").click()
            self.assertEqual([p.get_attribute("id") for p in self.all("[role=tabpanel]") if p.is_displayed()], [f"panel-{tab}"])
        at = lambda: self.js("document.activeElement.id")
        self.one("#tab-provenance").send_keys(Keys.ARROW_RIGHT)
        self.assertEqual(at(), "tab-verdict")
        self.one("#tab-verdict").send_keys(Keys.ARROW_LEFT)
        self.assertEqual(at(), "tab-provenance")
        self.one("#tab-provenance").send_keys(Keys.HOME)
        self.one("#tab-verdict").send_keys(Keys.ARROW_RIGHT)
        self.assertEqual(at(), "tab-correctness")
        self.assertEqual(len([t for t in self.all("[role=tab]") if t.get_attribute("tabindex") == "0"]), 1)
        self.assertIn("tab=correctness", self.js("location.hash"))
        outline = self.js("getComputedStyle(document.activeElement).outlineStyle")
        self.assertEqual(outline, "solid", "the focus is seen")

    def test_filters_count_and_can_be_linked(self):
        self.open()
        count = len(some_rows())
        self.assertIn(f"{count} of {count}", self.one("#count").text)
        self.assertEqual((self.tile("FAIL"), self.tile("MISTRUSTED"), self.tile("skip")), ("2", "1", "1"))
        self.one("#filter-dtype summary").click()
        self.one("#filter-dtype input[value=bf16]").click()
        self.assertIn(f"27 of {count}", self.one("#count").text)
        self.assertEqual((self.tile("FAIL"), self.tile("pass")), ("0", "27"))
        self.assertIn("The filters hide 3 wrong cases", self.text())
        self.assertIn("3 cases", self.one("#headline").text, "the head does not hide them")
        address = self.js("location.hash")
        self.open(address)
        self.assertIn(f"27 of {count}", self.one("#count").text)
        self.one("#clear").click()
        self.assertIn(f"{count} of {count}", self.one("#count").text)
        self.open("#tab=traffic&variant=ring&dtype=fp32&variant=nonsense&operator=%3Cscript%3E&case=%3Cimg%20src=x%3E&choose-problem=x")
        self.assertIn(f"9 of {count}", self.one("#count").text)

    def test_a_cell_opens_its_case(self):
        self.open("#tab=correctness")
        self.assertEqual(len(self.all(".matrix button.cell.wrong")), 3, "a tensor, and two cases wrong otherwise")
        self.assertEqual(len(self.all(".absent-all[title^='</script>']")), 1, "a skip says why")
        self.one("[aria-label^='dk of usp.2 fp32 dp1 sp4: wrong']").click()
        said = self.one("#detail").text
        for words in ("usp.2-softmax", "dk: 321 elements", "batch 1, head 3, position 77, dim 5", "held by rank 3", "3.25", "1.125",
                      "321 elements wrong", "case.csv"):
            self.assertIn(words, said)
        self.assertEqual(len(self.all("#detail .picture.chosen .ranks li.bad")), 1)
        self.assertRegex(self.js("document.querySelector('.all-figures').textContent"), "repeat3timed.*dk_bound_share7.50000.*dk_failed321")
        self.open(self.js("location.hash"))
        self.assertIn("dk: 321 elements", self.one("#detail").text, "an address has the case")
        self.open("#tab=correctness")
        first = self.one(".matrix button.cell[tabindex='0']")
        first.send_keys(Keys.ARROW_RIGHT)
        self.browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
        self.browser.switch_to.active_element.send_keys(Keys.ENTER)
        self.assertIn("ring-softmax-bf16", self.one("#detail-title").text)
        self.assertEqual(self.js("state.tensor"), "dq")

    def test_the_command_can_be_copied(self):
        self.open()
        self.one(".failure .copy").click()
        self.assertTrue(self.eventually(lambda: self.one(".failure .copy").text == "Copied"))

    def test_paper_is_light(self):
        self.look(1280, "dark")
        self.open("#tab=correctness")
        self.assertGreater(len(self.browser.print_page()), 1000)
        self.assertEqual(self.js("document.documentElement.dataset.theme"), "dark", "as before")
        self.js("dispatchEvent(new Event('beforeprint'))")
        self.assertEqual(self.js("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)")

    def test_a_case_of_several_files_shows_its_worst(self):
        page = self.made("twice", [row(), row(status="FAIL", wrong="o", commit="b" * 12), row()])
        self.open("#tab=correctness", page)
        self.assertEqual(len(self.all(".matrix button.cell")), 4)
        self.one(".matrix button.cell.wrong").click()
        self.assertIn("All 3 cases at this place", self.one("#detail").text)
        self.assertIn("bbbbbbbbbbbb", self.one("#detail .note").text)

    def test_hostile_text_is_shown_and_inert(self):
        for tab in TABS:
            self.open(f"#tab={tab}")
            self.assertIsNone(self.js("window.ran"), tab)
            self.assertEqual(self.js("document.querySelectorAll('img, main script').length"), 0, tab)
            if tab in ("verdict", "history", "provenance"):
                self.assertIn("</script><script>window.ran", self.text().replace(" ", ""), tab)
        self.open("#tab=provenance")
        self.assertIn("⟨U+202E⟩RTL⟨U+200F⟩", self.text())
        self.open("#tab=correctness&case=" + self.js("encodeURIComponent(arguments[0])", HOSTILE))
        self.assertIn("window.ran", self.one("#detail-title").text)
        self.assertIsNone(self.js("window.ran"))

    def test_speed_draws_oversubscribed_rows_on_demand_only(self):
        self.open("#tab=speed&variant=ring&dtype=fp32")
        self.assertIn("3 rows of 9 had more ranks than cores", self.text())
        drawn = "open_charts[0].data.datasets[0].data.length"
        self.assertEqual(self.js("[...document.querySelector('#choose-grid').options].map(o => o.label)"), ["dp1 sp2", "dp1 sp1"])
        self.assertEqual(self.js(drawn), 3)
        self.assertIn("measured peak", self.js("open_charts[0].data.datasets.map(d => d.label)"))
        self.one("#choose-oversubscribed").click()
        self.assertIn("dp1 sp4", self.js("[...document.querySelector('#choose-grid').options].map(o => o.label)"))

    def test_traffic_marks_what_departs(self):
        self.open("#tab=traffic")
        self.assertEqual(len(self.all("tr.wrong-row")), 1)
        self.assertIn("✗ 12.3 kB ≠ formula 8.19 kB", self.one("tr.wrong-row").text)

    def test_empty_views_say_why(self):
        bare = {**row(), "perf": None}
        page = self.made("bare", [bare, skipped("needs 4 ranks, there are 2", variant="ulysses")])
        for tab, why in (("speed", "--no-perf"), ("published", "cases/lasp_readme.csv"), ("history", "--db")):
            self.open(f"#tab={tab}", page)
            self.assertIn(why, self.text())
        self.open("#tab=correctness&variant=ulysses", page)
        self.assertIn("needs 4 ranks", self.text())
        self.open("", self.made("none", [skipped("no such device")]))
        self.assertIn("No case ran", self.one("#headline").text)

    def test_a_thousand_cases(self):
        rows = [row(f"variant{v}", dtype=dtype, seq=1024 << n, sp=8) for v in range(50) for dtype in ("fp32", "bf16") for n in range(10)]
        for i, r in enumerate(rows):  # no two alike, as in life
            for t in r["tensors"].values():
                t["relative_error_by_rank"] = [1e-3 * (1 + 0.001234567 * i + 0.01 * k) for k in range(8)]
            for k, of in enumerate(r["ranks"]):
                of.update({name: 0.0123456789 * (k + 1 + i) for name in ("compute_s", "wait_s", "hidden_s", "other_s")})
        page = self.made("thousand", rows)
        size = os.path.getsize(page)
        for tab in TABS:
            begin = time.monotonic()
            self.open(f"#tab={tab}", page)
            print(f"1000 cases, {size / 1e6:.2f} MB: {tab} loaded in {time.monotonic() - begin:.2f} s")
        self.assertLess(size, 3_000_000)

    def test_nothing_scrolls_sideways_but_tables_at_390(self):
        self.look(390, "light")
        for tab in TABS:
            self.open(f"#tab={tab}")
            if tab == "correctness":
                self.js("document.querySelector('.matrix .cell.wrong').click()")
            self.assertLessEqual(self.js("document.documentElement.scrollWidth"), 390, tab)

    def test_dark_and_light(self):
        page = "getComputedStyle(document.body).backgroundColor"
        self.look(1280, "dark")
        self.open()
        dark = self.js(page)
        self.look(1280, "light")
        self.assertTrue(self.eventually(lambda: self.js(page) != dark), "follows the system")
        for _ in range(2):
            self.one("#theme").click()
        self.assertEqual(self.js(page), dark, "or the button")

    def test_a_real_sweep_and_its_command(self):
        out = f"{self.folder.name}/sweep"
        subprocess.run([PROGRAM, "sweep", str(CASES / "smoke.csv"), "--filter", "sp2", "--repeat", "1", "--out", out],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        page = str(OUT / "sweep.html")
        subprocess.run([PROGRAM, "dashboard", out, "-o", page], check=True, stdout=subprocess.DEVNULL)
        names = [json.loads(line)["name"] for line in pathlib.Path(out, "results.jsonl").read_text().splitlines()]
        for tab in TABS:
            self.open(f"#tab={tab}", page)
        self.open("#tab=correctness", page)
        self.one(".matrix button.cell").click()
        name, command = self.one("#detail-title .mono").text, self.one("#detail .repeat code").text
        self.assertIn(name, names)
        run = subprocess.run(["bash", "-c", command], cwd=self.folder.name, capture_output=True, text=True,
                             env={**os.environ, "PATH": f"{pathlib.Path(PROGRAM).parent}:{os.environ['PATH']}"})
        self.assertEqual(run.returncode, 0, run.stderr)
        variant, dtype, (dp, sp) = name.split("-")[0], name.split("-")[2], re.search(r"-dp(\d+)-sp(\d+)-", name).groups()
        self.assertRegex(run.stdout, rf"(?m)^#1 pass {re.escape(variant)} {dtype}\S* dp{dp} sp{sp} ")
        self.assertIn("1 cases: 1 passed", run.stdout)

    def test_results_of_schema_2(self):
        page, folder = str(OUT / "schema2.html"), CASES.parent / "harness/testing/schema2"
        subprocess.run([PROGRAM, "dashboard", folder / "results.jsonl", "--gate", folder / "gate.json", "-o", page],
                       check=True, stdout=subprocess.DEVNULL)
        self.open("#tab=correctness", page)
        red = [cell.get_attribute("aria-label").split(":")[0] for cell in self.all(".matrix button.cell.wrong")]
        self.assertEqual(red, ["ring fp32 dp1 sp1"] + [f"{out} of ring_flipped fp32 dp1 sp2" for out in OUTS] +
                         ["dv of given fp32 dp1 sp1", "dq of given fp32 dp1 sp2"])
        self.open("", page)
        self.assertIn("5 cases of 9 wrong", self.one("#headline").text)
        self.assertIn("8 exact figures worse, 2 series with a step to slower", self.text())

    def test_the_data_can_be_had(self):
        down = pathlib.Path(self.folder.name) / "down"
        down.mkdir()
        self.browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(down)})
        self.open("#tab=provenance")
        self.one("#download").click()
        self.assertTrue(self.eventually((down / "ringside.json").exists))
        self.assertEqual(json.loads((down / "ringside.json").read_text()), self.js("MODEL"))

    def test_screenshots(self):
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                for tab in TABS:
                    self.look(width, scheme)
                    self.open(f"#tab={tab}")
                    if tab == "correctness":
                        self.js("document.querySelector('.matrix .cell.wrong').click()")
                    height = self.js("document.documentElement.scrollHeight")
                    self.look(width, scheme, min(height, 3000))
                    file = OUT / f"{width}-{scheme}-{tab}.png"
                    self.assertTrue(self.browser.save_screenshot(str(file)))


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    PROGRAM, PAGES, CASES, OUT = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4])
    OUT.mkdir(parents=True, exist_ok=True)
    unittest.main(argv=sys.argv[:1] + sys.argv[5:], verbosity=2)
