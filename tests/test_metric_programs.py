"""Metrics with a program of their own: set up, started once for all images, every sin caught."""

import csv
import math
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from pictures import photo
from PIL import Image
from stand_in import make_repository

import bench
from baselines.official_metric import rows
from bench import metrics
from bench.base.errors import BenchError, CardError
from bench.base.lazy import TRUST
from bench.base.progress import Progress
from bench.gate.reference import read_reference
from bench.methods.card import Scores
from bench.methods.find import find as find_method
from bench.methods.find import metric_cards
from bench.methods.installation import Installation
from bench.methods.setup import SetupOptions, setup
from bench.running.execute import stored
from bench.running.options import RunOptions
from bench.running.plan import make_plan
from bench.suites.find import chosen, find_suite

SCRIPT = """
import json, os, sys, time
from pathlib import Path

def argument(name):
    return sys.argv[sys.argv.index(name) + 1]

if "--help" in sys.argv:
    print("usage: run.py")
    raise SystemExit
import numpy as np
from PIL import Image
sin, marker = os.environ["SIN"], Path(os.environ["MARKER"])
with marker.open("a") as starts:
    starts.write(f"{len(json.loads(Path(argument('--list')).read_text()))}\\n")
made = Path(argument("--out"), os.environ["FILE"])
out = made.open("w")
csv = made.suffix == ".csv"
print("name,score" if csv else "no JSON", file=out, flush=True)

def say(name, value):
    line = f"{name},{value}" if csv else json.dumps({"name": name, "score": value})
    print(line, file=out, flush=True)

for index, entry in enumerate(json.loads(Path(argument("--list")).read_text())):
    sr = np.asarray(Image.open(Path(argument("--images"), entry["image"]))).astype(float)
    hr = np.asarray(Image.open(Path(argument("--hr"), entry["image"]))).astype(float)
    shade = int(hr.mean())  # tells the images apart
    value = float(np.abs(sr - hr).mean())
    if sin == "skips" and shade > 150:
        continue
    if sin == "gives nan" and shade > 150:
        value = float("nan")
    if sin == "out of range" and shade > 150:
        value = 1e6
    if sin == "dies" and shade > 150:
        out.write(f"{entry['image']},1")  # and would have written 123.4
        out.flush()
        os.abort()
    if sin == "hangs once" and index == 1 and len(marker.read_text().splitlines()) == 1:
        time.sleep(3600)
    if sin == "hostile":
        say("../../etc/passwd", 1)
        say("\\x1b[31m=HYPERLINK()", 1)
        say(entry["image"], [[]])
        print('{"name": {}, "score": ' + "9" * 5000 + "}", file=out)
        print("[" * 100000, file=out)
        out.flush()
        continue
    if sin == "takes the SR away":
        Path(os.environ["MARKER"]).with_name("sr").joinpath("second.png").unlink(missing_ok=True)
    say(entry["image"][:-4] if sin == "names no file" else "/any/folder/" + entry["image"], value)
    if sin == "says twice":
        say(entry["image"], value + 1)
if sin == "writes anew":
    time.sleep(1.5)  # till the first ones were read
    out.seek(0)
    out.truncate()
    print("name,score", file=out)
    for index, entry in enumerate(json.loads(Path(argument("--list")).read_text())):
        say(entry["image"], 200 if index else "nan")
"""

OWN = '''
def score(sr, hr):
    """Mean difference; lower is better."""
    return float((sr - hr).abs().mean())
'''

CARD = """
name = "{name}"
title = "Distance"
summary = "mean absolute difference"
factory = "baselines.official_metric:OfficialMetric"
licence = "none"

[official]
repository = "{repository}"
commit = "{commit}"
python = "3.11"
modules = ["PIL"]
command = [
  "run.py", "--images", "{{input}}", "--hr", "{{reference}}", "--list", "{{list}}",
  "--out", "{{output}}"]
environment = {{ SIN = "{sin}", FILE = "{file}", MARKER = "{marker}" }}
gpu = false
min_size = 4
seeding = "none"
settings = "as in the paper"

[official.scores]
better = "lower"
reference = true
range = "0 to 255"
bounds = [0, 255]
entry = {{ image = "{{name}}" }}
file = "{file}"
image = "name"
value = "score"
"""


@dataclass
class StandIn:
    """A repository of a metric, and folders `sr` and `hr` of three images, of which the second is
    bright."""

    folder: Path
    commit: str

    def card(self, sin: str = "", file: str = "scores.csv", name: str = "distance") -> Path:
        """A card of a metric whose program commits `sin`, set up."""
        path = self.folder / "card.toml"
        known = {"repository": self.folder / "origin", "commit": self.commit}
        known |= {"marker": self.folder / "starts", "name": name}
        path.write_text(CARD.format(sin=sin, file=file, **known))
        options = SetupOptions(python=Path(sys.executable), as_is=True)
        setup(str(path), options, Progress(quiet=True))
        return path

    @property
    def starts(self) -> list[int]:
        """How many images each start of the program was given."""
        return [int(line) for line in (self.folder / "starts").read_text().split()]

    def expected(self, name: str) -> float:
        sr, hr = (np.asarray(Image.open(self.folder / kind / name)) for kind in ("sr", "hr"))
        return float(np.abs(sr.astype(float) - hr).mean())


@pytest.fixture
def stand_in(clean_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    monkeypatch.setenv(TRUST, "1")
    folder = tmp_path / "stand-in"
    folder.mkdir()
    for kind in ("sr", "hr"):
        (folder / kind).mkdir()
        for index, name in enumerate(("first", "second", "third")):
            picture = photo(24, 32, index + 10 * (kind == "sr")) // 2 + 110 * (index == 1)
            Image.fromarray(picture.astype(np.uint8)).save(folder / kind / f"{name}.png")
    return StandIn(folder, make_repository(folder / "origin", SCRIPT))


def score(cli: Cli, stand_in: StandIn, card: Path) -> tuple[int, dict[str, str], str]:
    """Exit code, scores by image and what was said."""
    table = stand_in.folder / "scores-of-all.csv"
    where = ("--sr", stand_in.folder / "sr", "--hr", stand_in.folder / "hr", "--csv", table)
    done = cli("score", *where, "--metrics", f"{card},psnr_y", "--device", "cpu", **{TRUST: "1"})
    assert "Traceback" not in done.stderr, done.stderr
    found = [row for row in csv.DictReader(table.read_text().splitlines()) if row["value"]]
    values = {
        name: {r["image"][:-4]: r["value"] for r in found if r["metric"] == name}
        for name in ("card.toml", "psnr_y")
    }
    assert values["psnr_y"]
    return done.returncode, values["card.toml"], " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("file", ["scores.csv", "deep/scores.jsonl"])
def test_a_program_is_started_once_and_never_for_what_is_known(
    cli: Cli, stand_in: StandIn, file: str
) -> None:
    card = stand_in.card(file=Path(file).name)
    for _ in range(2):
        code, found, _ = score(cli, stand_in, card)
        assert code == 0 and stand_in.starts == [3]
        assert len(found) == 3
        for name, value in found.items():
            assert float(value) == pytest.approx(stand_in.expected(f"{name}.png"), rel=1e-12)


@pytest.mark.parametrize(
    ("sin", "file", "reason"),
    [
        ("skips", "scores.csv", "wrote no score of it"),
        ("gives nan", "scores.csv", "gives no number from 0 to 255"),
        ("gives nan", "scores.jsonl", "gives no number from 0 to 255"),
        ("out of range", "scores.csv", "gives no number from 0 to 255"),
        ("dies", "scores.csv", "killed by signal 6"),
    ],
)
def test_one_image_without_a_score_costs_the_others_nothing(
    cli: Cli, stand_in: StandIn, sin: str, file: str, reason: str
) -> None:
    code, found, said = score(cli, stand_in, stand_in.card(sin, file))
    assert code == 1 and found.keys() == {"first", "third"}
    assert "second.png" in said and reason in said
    for name, value in found.items():
        assert float(value) == pytest.approx(stand_in.expected(f"{name}.png"))


def test_names_that_were_not_asked_for_are_told_and_not_used(cli: Cli, stand_in: StandIn) -> None:
    code, found, said = score(cli, stand_in, stand_in.card("hostile", "scores.jsonl"))
    assert code == 1 and found == {}
    assert "belongs to no input, not used: passwd" in said and "\x1b" not in said
    code, found, said = score(cli, stand_in, stand_in.card("says twice"))
    assert code == 1 and found == {} and "the program gives scores that differ" in said
    code, found, said = score(cli, stand_in, stand_in.card("names no file"))
    assert code == 0 and len(found) == 3 and "not used" not in said


def test_what_a_program_says_in_the_end_counts(cli: Cli, stand_in: StandIn) -> None:
    card = stand_in.card("writes anew")
    for _ in range(2):
        code, found, said = score(cli, stand_in, card)
        assert code == 1 and found == {"second": "200.0", "third": "200.0"}
        assert "first.png: card.toml: the program gives no number from 0 to 255" in said


def test_a_program_that_cannot_be_started_costs_other_metrics_nothing(
    cli: Cli, stand_in: StandIn
) -> None:
    code, found, _ = score(cli, stand_in, stand_in.card("takes the SR away"))
    assert code == 1 and found.keys() == {"first", "third"}
    card = stand_in.card(name="psnr_y")
    _, found, _ = score(cli, stand_in, card)
    assert found.keys() == {"first", "third"}  # and PSNR-Y, which it calls itself, is there too
    card.write_text(card.read_text().replace("{reference}", "{references}"))
    code, found, said = score(cli, stand_in, card)
    assert code == 1 and found == {} and "unknown placeholder {references}" in said


def test_what_was_scored_before_a_kill_is_not_scored_again(cli: Cli, stand_in: StandIn) -> None:
    card, store = stand_in.card("hangs once"), stand_in.folder / "store"
    where = ("--sr", stand_in.folder / "sr", "--hr", stand_in.folder / "hr", "--store", store)
    words = ("score", *where, "--metrics", card, "--device", "cpu")
    runner = cli.start(*words, **{TRUST: "1"})
    runner.until(lambda: [p for p in store.glob("scores/card.toml-*/*.jsonl") if p.read_text()])
    runner.kill()
    runner.wait()
    done = cli(*words, **{TRUST: "1"})
    assert done.returncode == 0, done.stderr
    assert stand_in.starts == [3, 2]


def test_an_image_that_cannot_be_read_or_does_not_fit_is_told(cli: Cli, stand_in: StandIn) -> None:
    Image.fromarray(photo(24, 36, 1)).save(stand_in.folder / "sr" / "second.png")
    (stand_in.folder / "sr" / "third.png").write_bytes(b"\x89PNG half a file")
    code, found, said = score(cli, stand_in, stand_in.card())
    assert code == 1 and found.keys() == {"first"} and stand_in.starts == [1]
    assert "card.toml: is 36x24, its HR image is 32x24" in said
    assert "third.png: card.toml: cannot be decoded (not an image); cannot be decoded" in said


def test_a_run_takes_it_as_any_metric_and_its_commit_is_in_the_fingerprint(
    cli: Cli, stand_in: StandIn, tmp_path: Path
) -> None:
    store, out = tmp_path / "store", tmp_path / "reports"
    words = ("--methods", "bicubic,lanczos", "--limit", 2, "--no-fetch", "--store", store)
    words += ("--out", out, "--reports", "csv", "--device", "cpu")
    metric = f"{stand_in.card()},psnr_y"
    done = cli("run", "quick", *words, "--metrics", metric, **{TRUST: "1"})
    assert done.returncode == 0, done.stderr
    assert stand_in.starts == [sum(stand_in.starts)] and stand_in.starts[0] >= 4
    before = metrics.fingerprint(metrics.find(str(stand_in.folder / "card.toml")))
    assert before["program"]["official"]["commit"] == stand_in.commit
    assert str(stand_in.folder) not in (out / "provenance.json").read_text("utf-8")
    done = cli("diff", out, out)
    assert done.returncode == 0, done.stderr
    suite = chosen(find_suite("quick"), ["bicubic"], [], [str(stand_in.folder / "card.toml")])
    options = RunOptions(store, "cpu", 1, limit=2)

    def known() -> int:
        plan = make_plan(suite, options, Progress(quiet=True))
        return int(stored(plan).results.scores["value"].notna().sum())

    assert known() == 4
    stand_in.card(sin="other")
    assert known() == 0
    assert metrics.fingerprint(metrics.find(str(stand_in.folder / "card.toml"))) != before


def test_a_card_of_a_users_is_a_program_that_must_be_trusted(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = str(stand_in.card())
    with pytest.raises(BenchError, match=r"scores whole folders of images; use bench.score"):
        bench.metric(card)
    with pytest.raises(CardError, match="give it with --metrics"):
        find_method(card)
    spec = metrics.find(card)
    shutil.rmtree(Installation(spec.program.card).root)
    assert metrics.unavailable(spec, "cpu").endswith(f"run: cassr-bench setup {card}")
    monkeypatch.delenv(TRUST)
    with pytest.raises(CardError, match="give --trust"):
        metrics.find(card)
    monkeypatch.setenv(TRUST, "1")
    text = Path(card).read_text("utf-8")
    Path(card).write_text(text[: text.index("[official.scores]")], encoding="utf-8")
    with pytest.raises(CardError, match=r"expected \[official.scores\]"):
        metrics.find(card)


def test_the_score_of_deqa_is_the_mean_of_levels_by_their_softmax() -> None:
    """As src/evaluate/cal_plcc_srcc.py of its repository computes it."""
    scores = metric_cards()["deqa"].official.scores
    logits = {"excellent": 17.2, "good": 18.9, "fair": 16.0, "poor": 11.5, "bad": 9.25}
    probs = np.exp(list(logits.values())) / np.sum(np.exp(list(logits.values())))
    expected = float(np.inner(probs, [5.0, 4.0, 3.0, 2.0, 1.0]))
    assert scores.score({"image": "a", "logits": logits}) == pytest.approx(expected, abs=1e-12)
    for wrong in (None, "5", {}, {**logits, "bad": "x"}, {**logits, "bad": math.nan}):
        assert math.isnan(scores.score({"logits": wrong}))


@pytest.mark.slow
def test_a_run_on_a_cluster_scores_by_a_program_here(
    cli: Cli, stand_in: StandIn, tmp_path: Path
) -> None:
    """Its images come from the cluster; its repository is on this machine alone."""
    pytest.importorskip("ray", reason="Ray is not installed")
    words = ("--methods", "bicubic", "--datasets", "quick-bicubic", "--limit", 2, "--no-fetch")
    words += ("--metrics", f"{stand_in.card()},psnr_y", "--reports", "csv", "--device", "cpu")
    told = {TRUST: "1", "RAY_USAGE_STATS_ENABLED": "0"}
    told["RAY_ADDRESS"] = "local"  # not one that another test has on this machine
    for on in ("ray", "local"):
        where = ("--on", on, "--store", tmp_path / f"{on}-store", "--out", tmp_path / on)
        done = cli("run", "quick", *words, *where, **told)
        assert done.returncode == 0, done.stderr
        said = "runs on this machine: its repository is here alone" in " ".join(done.stderr.split())
        assert said == (on == "ray")
    assert stand_in.starts == [2, 2]
    one, other = ((tmp_path / on / "scores.csv").read_bytes() for on in ("ray", "local"))
    assert one == other and one.count(b"card.toml") == 2


@pytest.mark.parametrize("where", [".", "../metrics"])
def test_a_gate_finds_the_metrics_of_its_reference(
    cli: Cli, stand_in: StandIn, tmp_path: Path, where: str
) -> None:
    folder = tmp_path / "cwd" / where
    folder.mkdir(exist_ok=True)
    shutil.copy(stand_in.card(), folder)
    (folder / "own.py").write_text(OWN)
    names = ("--metrics", f"{where}/card.toml,{where}/own.py,psnr_y", "--update")
    pair = ("--sr", stand_in.folder / "sr", "--hr", stand_in.folder / "hr", "--device", "cpu")
    for more in (names, ()):
        done = cli("gate", *pair, "--reference", "reference.toml", *more, **{TRUST: "1"})
        assert done.returncode == 0, done.stdout + done.stderr
    known = read_reference(tmp_path / "cwd" / "reference.toml").measured.metrics
    assert {name: metric.typed for name, metric in known.items()} == {
        "card.toml": str(Path(where, "card.toml")),
        "own.py": str(Path(where, "own.py")),
        "psnr_y": "",
    }


def test_half_a_last_line_is_no_score(tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    file.write_text("name,score\na.png,0.25\nb.png,0.7")
    assert [row["score"] for row in rows(file, whole=False)] == ["0.25"]
    assert [row["score"] for row in rows(file, whole=True)] == ["0.25", "0.7"]
    assert list(rows(tmp_path / "none.csv", whole=True)) == []


def test_packaged_programs_pin_what_the_hub_gives() -> None:
    for card in metric_cards().values():
        assert card.official and isinstance(card.official.scores, Scores)
        assert all(each.revision for each in card.official.snapshots)
        assert card.name in metrics.names() and card.name not in {
            spec.name for spec in metrics.METRICS
        }
