"""A stand-in for somebody's repository: the usual interface, and sins on demand."""

import subprocess
from pathlib import Path

SCRIPT = """
import argparse, os, random, sys, time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--input", required=True)
parser.add_argument("--outdir", default="results")
parser.add_argument("--upscale", type=int, default=1)
parser.add_argument("--seed", type=int, default=None)
parser.add_argument("--ckpt", default=None)
sin = os.environ.get("SIN", "")
if sin == "does not start":
    __import__("module_of_theirs")
if sin == "asks for a GPU":
    raise ValueError("Currently support CUDA only.")
args = parser.parse_args()
from PIL import Image
target = Path(args.outdir, "sample00")
target.mkdir(parents=True, exist_ok=True)
random.seed(args.seed)
print("loading", args.ckpt and Path(args.ckpt).read_bytes()[2:].decode())
started = time.time_ns()

def train():
    import logger_of_theirs
    try:
        import optional_of_theirs
    except ImportError:
        pass

marker = Path(os.environ.get("MARKER", "/nonexistent"))

paths = sorted(Path(args.input).iterdir(), reverse=sin.startswith("own order"))
for index, path in enumerate(paths):
    print(f"processing {path.name}", flush=True)
    image = Image.open(path)
    assert image.mode == "RGB" and path.suffix == ".png", path
    size = (image.width * args.upscale, image.height * args.upscale)
    sr = image.resize(size, Image.NEAREST)
    name = path.stem
    if sin == "noise from order":
        shade = random.randrange(256)
        sr = Image.new("RGB", size, (shade, 0, 0))
    if sin == "noise from nothing":
        sr = Image.new("RGB", size, tuple(os.urandom(3)))
    if sin == "stderr":
        print("Warning: half of this is deprecated", file=sys.stderr)
    if sin == "skips" and name == "second":
        continue
    if sin == "extra":
        image.resize(size).save(target / f"{name}_lq.png")
    if sin == "numbers its outputs":
        name = f"{index:04d}"
    if sin == "wrong size" and index == 1:
        sr = sr.crop((0, 0, size[0] - 4, size[1]))
    if sin == "dies once" and index == 1 and not marker.exists():
        marker.write_text("")
        (target / f"{name}.png").write_bytes(b"\\x89PNG half a file")
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    if sin in ("dies at second", "own order, dies at second") and "second" in name:
        os.abort()
    if sin == "dies at once":
        raise ModuleNotFoundError("No module named 'xformers'")
    if sin == "hangs" and index == 1:
        time.sleep(3600)
    if sin == "child of its own" and index == 1:
        import subprocess
        child = [sys.executable, "-c", "import time; time.sleep(3600)", args.input]
        subprocess.Popen(child, start_new_session=True)
        time.sleep(3600)
    if sin == "skips in company" and index > 0:
        continue
    if sin == "endless log":
        print("step " * 1000000, flush=True)
    if sin == "writes JPEG":
        sr.save(target / f"{name}.png", format="JPEG")
        continue
    if sin == "placeholder first":
        Image.new("RGB", size).save(target / f"{name}.png")
        while not marker.exists():
            time.sleep(0.05)
    if sin == "keeps time":  # .1 s an image, after 7 s for the first
        sr.save(args.outdir + "/part.png")
        os.utime(args.outdir + "/part.png", ns=(0, started + 7 * 10**9 + index * 10**8))
        os.replace(args.outdir + "/part.png", target / f"{name}.png")
        continue
    sr.save(target / f"{name}.png")
    (target / "prompts.txt").write_text("a photo")
"""

CARD = """
name = "stand-in"
title = "Stand-in"
factory = "baselines.official:OfficialRepository"
licence = "none"
scales = [4]
seeded = true

[official]
repository = "{repository}"
commit = "{commit}"
python = "3.11"
modules = ["PIL"]
command = [
  "run.py", "--input", "{{input}}", "--outdir", "{{output}}", "--upscale", "{{scale}}",
  "--seed", "{{seed}}"]
outputs = {{ folder = "sample00", name = "{{stem}}.png", ignore = ["sample00/prompts.txt"] }}
environment = {{ SIN = "{sin}", MARKER = "{marker}" }}
gpu = false
min_size = 4
seeding = "run"
start_seconds = 120
image_seconds = {patience}
settings = "as in the paper"
{more}
"""


def make_repository(folder: Path, script: str = SCRIPT) -> str:
    """A git repository with one commit; its hash."""
    folder.mkdir()
    (folder / "run.py").write_text(script)
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", "first"],
    ):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    head = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    return subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()


def write_card(path: Path, repository: Path, commit: str, sin: str = "", more: str = "") -> Path:
    """A card of the stand-in, committing `sin`."""
    marker = path.with_suffix(".marker")
    # Only what hangs is waited for; an honest program may be slow on a busy machine.
    patience = 1 if sin in ("hangs", "child of its own") else 120
    known = {"repository": repository, "commit": commit, "marker": marker, "more": more}
    path.write_text(CARD.format(sin=sin, patience=patience, **known), encoding="utf-8")
    return path
