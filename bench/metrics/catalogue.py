"""Every metric, in the order of the tables; plain data, so that importing it costs nothing."""

from __future__ import annotations

from typing import Any

from bench.base.types import BEYOND, MetricSpec, Weight
from bench.remote.weights import hash_in_name

_PYIQA_URL = "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/"
_PYIQA_LICENCE = "PolyForm-Noncommercial-1.0.0 (pyiqa)"
_OURS = "Apache-2.0"
_FROM_ZERO = (0, BEYOND)


def _pyiqa_weight(name: str, size: int = 0, sha256: str = "") -> Weight:
    return Weight(
        name=name,
        url=_PYIQA_URL + name,
        folder="hub/pyiqa",
        sha256=sha256,
        sha256_prefix=hash_in_name(name),
        size=size,
    )


def _torchvision_weight(name: str, sha256: str, size: int) -> Weight:
    url = f"https://download.pytorch.org/models/{name}"
    return Weight(name=name, url=url, folder="hub/checkpoints", sha256=sha256, size=size)


NIQE_PARAMETERS = _pyiqa_weight(
    "niqe_modelparameters.mat",
    sha256="fa2aa4d12dd9595c3fb6bf8b4e1a15c79d5d1469238d0901c88dead195be578d",
    size=8347,
)
ALEXNET = _torchvision_weight(
    "alexnet-owt-7be5be79.pth",
    "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    0,
)
VGG16 = _torchvision_weight(
    "vgg16-397923af.pth",
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    553_433_881,
)
LPIPS_ALEX = _pyiqa_weight(
    "LPIPS_v0.1_alex-df73285e.pth",
    sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
)
LPIPS_VGG = _pyiqa_weight(
    "LPIPS_v0.1_vgg-a78928a0.pth",
    sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
)
DISTS_WEIGHTS = _pyiqa_weight(
    "DISTS_weights-f5e65c96.pth",
    sha256="f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
)
MUSIQ_KONIQ = _pyiqa_weight("musiq_koniq_ckpt-e95806b9.pth", 108_610_983)
MANIQA_PIPAL = _pyiqa_weight("MANIQA_PIPAL-ae6d356b.pth", 543_335_435)
CLIP_RN50 = Weight(
    name="RN50.pt",
    url="https://openaipublic.azureedge.net/clip/models/"
    "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762/RN50.pt",
    folder="hub/clip",
    sha256="afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
)
INCEPTION = Weight(
    name="inception-2015-12-05.pt",
    url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
    "inception-2015-12-05.pt",
    folder="hub/cleanfid",
    sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    size=95_607_719,
)

_GRID_OF_CROPS = {"crops": "20 of 224 px on a uniform grid, the scheme of pyiqa >= 0.1.12"}

_PATCHES: dict[str, Any] = {"mode": "clean", "patch": 256, "stride": 256}

METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        name="psnr_y",
        title="PSNR-Y",
        better="higher",
        reference=True,
        means="peak signal-to-noise ratio on BT.601 studio-range Y, no border crop",
        source="pyiqa psnr(test_y_channel=True, color_space='ycbcr')",
        factory="bench.metrics.fidelity:PsnrY",
        range="0 to 80, typically 20 to 35",
        bounds=(0, 80),
        unit="dB",
        digits=2,
        licence=_OURS,
        pyiqa_name="psnr",
    ),
    MetricSpec(
        name="ssim_y",
        title="SSIM-Y",
        better="higher",
        reference=True,
        means="structural similarity on rounded BT.601 studio-range Y, 11 px Gaussian, "
        "contrast term clamped at 0, no border crop",
        source="Wang et al., IEEE TIP 2004; pyiqa ssim(color_space='ycbcr')",
        factory="bench.metrics.fidelity:SsimY",
        range="0 to 1",
        bounds=(0, 1),
        licence=_OURS,
        min_size=11,
        pyiqa_name="ssim",
    ),
    MetricSpec(
        name="lpips",
        title="LPIPS",
        better="lower",
        reference=True,
        means="learned perceptual distance, AlexNet v0.1",
        source="Zhang et al., CVPR 2018",
        factory="bench.metrics.perceptual:Lpips",
        range="0 to 1",
        bounds=_FROM_ZERO,
        licence=f"{_PYIQA_LICENCE}; weights BSD-2-Clause",
        weights=(ALEXNET, LPIPS_ALEX),
        min_size=32,
        pyiqa_name="lpips",
    ),
    MetricSpec(
        name="dists",
        title="DISTS",
        better="lower",
        reference=True,
        means="structure and texture distance on VGG-16 features",
        source="Ding et al., TPAMI 2020",
        factory="bench.metrics.perceptual:Dists",
        range="0 to 1",
        bounds=_FROM_ZERO,
        licence=f"{_PYIQA_LICENCE}; weights MIT",
        weights=(VGG16, DISTS_WEIGHTS),
        min_size=32,
        pyiqa_name="dists",
    ),
    MetricSpec(
        name="fid",
        title="FID",
        better="lower",
        reference=True,
        means="Frechet distance of Inception features, clean-fid resize, the HR set as "
        "reference; depends on the number of images, never compare across n",
        source="Heusel et al., NeurIPS 2017; Parmar et al., CVPR 2022",
        factory="bench.metrics.inception:Fid",
        kind="set",
        range="0 to several hundred",
        digits=2,
        licence="MIT (clean-fid); weights Apache-2.0",
        weights=(INCEPTION,),
        options={"mode": "clean"},
        pyiqa_name="fid",
    ),
    MetricSpec(
        name="kid",
        title="KID",
        better="lower",
        reference=True,
        means="unbiased squared MMD of the same features, cubic polynomial kernel, all pairs; "
        "unlike FID its mean does not depend on the number of images",
        source="Binkowski et al., ICLR 2018",
        factory="bench.metrics.inception:Kid",
        kind="set",
        range="around 0 to 0.3; can be slightly negative",
        digits=5,
        licence="MIT (clean-fid); weights Apache-2.0",
        weights=(INCEPTION,),
        options={"mode": "clean"},
        unbiased=True,
    ),
    MetricSpec(
        name="patch_fid",
        title="pFID",
        better="lower",
        reference=True,
        means="FID over the 256 px crops of a grid from the top left corner, without overlap; what "
        "does not fill a crop is left out",
        source="Mentzer et al., NeurIPS 2020 (FID/256, first grid); Parmar et al., CVPR 2022",
        factory="bench.metrics.inception:PatchFid",
        kind="set",
        range="0 to several hundred",
        digits=2,
        licence="MIT (clean-fid); weights Apache-2.0",
        weights=(INCEPTION,),
        options=_PATCHES,
        min_size=_PATCHES["patch"],
    ),
    MetricSpec(
        name="patch_kid",
        title="pKID",
        better="lower",
        reference=True,
        means="KID over the crops of patch_fid; does not depend on their number, but crops of one "
        "image are alike",
        source="Binkowski et al., ICLR 2018",
        factory="bench.metrics.inception:PatchKid",
        kind="set",
        range="around 0 to 0.3; can be slightly negative",
        digits=5,
        licence="MIT (clean-fid); weights Apache-2.0",
        weights=(INCEPTION,),
        options=_PATCHES,
        min_size=_PATCHES["patch"],
        unbiased=True,
    ),
    MetricSpec(
        name="niqe",
        title="NIQE",
        better="lower",
        reference=False,
        means="distance from natural scene statistics, official parameters, full-range Y",
        source="Mittal et al., IEEE SPL 2013; pyiqa niqe",
        factory="bench.metrics.niqe:Niqe",
        range="2 to 15",
        bounds=_FROM_ZERO,
        licence=f"{_OURS}; parameters: licence of the NIQE release",
        weights=(NIQE_PARAMETERS,),
        min_size=96,
        pyiqa_name="niqe",
    ),
    MetricSpec(
        name="musiq",
        title="MUSIQ",
        better="higher",
        reference=False,
        means="multi-scale image quality transformer trained on KonIQ-10k",
        source="Ke et al., ICCV 2021",
        factory="bench.metrics.perceptual:PyiqaMetric",
        range="0 to 100",
        digits=2,
        licence=f"{_PYIQA_LICENCE}; weights Apache-2.0",
        weights=(MUSIQ_KONIQ,),
        min_size=32,
        pyiqa_name="musiq",
    ),
    MetricSpec(
        name="maniqa",
        title="MANIQA",
        better="higher",
        reference=False,
        means="multi-dimension attention network trained on PIPAL, mean of 20 crops",
        source="Yang et al., CVPRW 2022",
        factory="bench.metrics.perceptual:Maniqa",
        range="0 to 1",
        licence=f"{_PYIQA_LICENCE}; weights Apache-2.0",
        weights=(MANIQA_PIPAL,),
        options=_GRID_OF_CROPS,
        min_size=32,
        pyiqa_name="maniqa-pipal",
    ),
    MetricSpec(
        name="clipiqa",
        title="CLIPIQA",
        better="higher",
        reference=False,
        means="CLIP RN50 with five antonym prompt pairs, no training (not CLIPIQA+)",
        source="Wang et al., AAAI 2023",
        factory="bench.metrics.perceptual:ClipIqa",
        range="0 to 1",
        bounds=(0, 1),
        licence=f"{_PYIQA_LICENCE}; weights MIT",
        weights=(CLIP_RN50,),
        min_size=32,
        pyiqa_name="clipiqa",
    ),
    MetricSpec(
        name="ms_ssim",
        title="MS-SSIM",
        better="higher",
        reference=True,
        means="five-scale SSIM on rounded full-range Y (pyiqa's choice)",
        source="Wang et al., Asilomar 2003; pyiqa ms_ssim",
        factory="bench.metrics.fidelity:MsSsim",
        range="0 to 1",
        bounds=(0, 1),
        licence=_OURS,
        min_size=161,
        pyiqa_name="ms_ssim",
    ),
    MetricSpec(
        name="fsim",
        title="FSIMc",
        better="higher",
        reference=True,
        means="phase congruency and gradient similarity, with chroma",
        source="Zhang et al., IEEE TIP 2011; pyiqa fsim",
        factory="bench.metrics.similarity:Fsim",
        range="0 to 1",
        bounds=(0, 1),
        licence=_OURS,
        min_size=16,
        pyiqa_name="fsim",
    ),
    MetricSpec(
        name="gmsd",
        title="GMSD",
        better="lower",
        reference=True,
        means="standard deviation of gradient magnitude similarity on full-range Y",
        source="Xue et al., IEEE TIP 2014; pyiqa gmsd",
        factory="bench.metrics.similarity:Gmsd",
        range="0 to 0.4",
        bounds=(0, 1),
        licence=_OURS,
        min_size=4,
        pyiqa_name="gmsd",
    ),
    MetricSpec(
        name="nlpd",
        title="NLPD",
        better="lower",
        reference=True,
        means="normalized Laplacian pyramid distance on full-range Y",
        source="Laparra et al., Electronic Imaging 2016",
        factory="bench.metrics.perceptual:PyiqaMetric",
        range="0 to 1",
        bounds=_FROM_ZERO,
        licence=_PYIQA_LICENCE,
        min_size=64,
        pyiqa_name="nlpd",
    ),
    MetricSpec(
        name="vif",
        title="VIF",
        better="higher",
        reference=True,
        means="visual information fidelity in a steerable pyramid",
        source="Sheikh and Bovik, IEEE TIP 2006",
        factory="bench.metrics.perceptual:PyiqaMetric",
        range="0 to 1; above 1 where contrast is enhanced",
        bounds=_FROM_ZERO,
        licence=_PYIQA_LICENCE,
        min_size=64,
        pyiqa_name="vif",
    ),
    MetricSpec(
        name="piqe",
        title="PIQE",
        better="lower",
        reference=False,
        means="block-wise distortion estimate without training",
        source="Venkatanath et al., NCC 2015",
        factory="bench.metrics.perceptual:PyiqaMetric",
        range="0 to 100",
        bounds=(0, 100),
        digits=2,
        licence=_PYIQA_LICENCE,
        min_size=16,
        pyiqa_name="piqe",
    ),
)

PARITY: dict[str, float] = {
    "psnr_y": 1e-5,
    "ssim_y": 1e-6,
    "lpips": 1e-6,
    "dists": 1e-6,
    "fid": 1e-6,
    "kid": 1e-9,
    "patch_fid": 1e-6,
    "patch_kid": 1e-9,
    "niqe": 1e-5,
    "musiq": 1e-4,
    "maniqa": 1e-6,
    "clipiqa": 1e-6,
    "ms_ssim": 1e-6,
    "fsim": 1e-6,
    "gmsd": 1e-6,
    "nlpd": 1e-6,
    "vif": 1e-6,
    "piqe": 1e-4,
}
"""How far a score may be from the reference implementation: pyiqa called directly, and for FID and
KID clean-fid's distances of the same features (relative). Tests enforce it, docs show it."""

_CLIPIQA_PLUS = _pyiqa_weight("CLIP-IQA+_learned_prompts-603f3273.pth")

PYIQA_WEIGHTS: dict[str, tuple[Weight, ...]] = {
    **{spec.pyiqa_name: spec.weights for spec in METRICS if spec.kind == "image"},
    "psnry": (),
    "ssimc": (),
    "vsi": (),
    "cw_ssim": (),
    "mad": (),
    "entropy": (),
    "niqe_matlab": (_pyiqa_weight("niqe_matlab_params.mat"),),
    "ilniqe": (_pyiqa_weight("ILNIQE_templateModel.mat"),),
    "lpips+": (ALEXNET, LPIPS_ALEX),
    "lpips-vgg": (VGG16, LPIPS_VGG),
    "lpips-vgg+": (VGG16, LPIPS_VGG),
    "musiq-ava": (_pyiqa_weight("musiq_ava_ckpt-e8d3f067.pth"),),
    "musiq-spaq": (_pyiqa_weight("musiq_spaq_ckpt-358bb6af.pth"),),
    "musiq-paq2piq": (_pyiqa_weight("musiq_paq2piq_ckpt-364c0c84.pth"),),
    "clipiqa+": (CLIP_RN50, _CLIPIQA_PLUS),
}
"""What `pyiqa:NAME` loads, for the metrics whose files are known; the rest is found by asking."""

PYIQA_SET_METRICS = ("fid", "sfid", "fid_dinov2", "inception_score")
"""pyiqa's metrics of folders, which `pyiqa:NAME` refuses."""

PYIQA_LICENCE = _PYIQA_LICENCE
