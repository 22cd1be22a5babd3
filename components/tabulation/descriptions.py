"""What each experiment shows: the paper's tables and figures."""

from collections.abc import Mapping
from dataclasses import dataclass

OURS = "generated"
"""Name, in every table, of the set that the whole method generates and selects."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """A table or figure of the paper: what its reader learns, what the paper reports, where the experiment differs."""

    title: str
    source: str
    question: str
    paper: str
    """Empty, as the source, where the paper has no such table."""
    differs: str = ""


DESCRIPTIONS: Mapping[str, Description] = {
    "table1": Description(
        title="Kinds of added images",
        source="Table 1",
        question="Which added images help a detector: pictures of the web, images of text alone, or the generated set?",
        paper="Hazelnut, one given image, PatchCore, image / pixel AUROC: original 88.3 / 94.3, web image 84.8 / 93.1, "
        "VQGAN-CLIP 64.8 to 81.4, generated 93.3 / 94.6.",
        differs="VQGAN-CLIP is guided by the line's embedder, and by the best prompt in place of GPT-4's caption, "
        "which needs a service outside of the product. "
        "The rows add unequal numbers of images, as in the paper: each row states its number, rotations add 7 turned "
        "copies of each given image by default, and a further row has as many generated images as VQGAN-CLIP has.",
    ),
    "table2": Description(
        title="Image quality by prompt",
        source="Table 2",
        question="Does the prompt that selects the set change how the images look?",
        paper="Hazelnut, SSIM / PSNR: only word 0.50 / 19.0, naive prompt 0.78 / 23.5, worst prompt 0.79 / 23.6, "
        "best 0.90 / 28.4.",
        differs="The paper's LPIPS (700 to 984) is not on LPIPS's scale; standard values are given here.",
    ),
    "table3": Description(
        title="Ablations",
        source="Table 3",
        question="What do the text, the number of generated images and the estimated variance add?",
        paper="PatchCore, image AUROC: baseline 74.5, without text 77.6, with 79.1; 1 / 10 / 20 / 30 copies "
        "78.6 / 77.9 / 78.4 / 79.0; without variance 74.3, with 78.9.",
        differs="Without text, the last iteration's set is taken.",
    ),
    "fig2": Description(
        title="Gain, similarity and variance",
        source="Fig. 2",
        question="Do sets help more when they are nearer to the given image, or more varied?",
        paper="Both correlate with the gain.",
        differs="The sets are those of all iterations of each loop; similarity is the cosine of the embedder's image "
        "vectors, variance the mean standard deviation of a pixel over the set. Pearson's r is that of differences "
        "from the mean of each class, number of given images, seed and detector: no difference between these makes it.",
    ),
    "fig5": Description(
        title="Detectors and shots",
        source="Fig. 5",
        question="Does the generated set help each detector, and how much with more given images?",
        paper="PatchCore, CFlow, Reverse Distillation and EfficientAD gain with one, five and all images of MVTec AD.",
        differs="The paper shows the mean over the classes and the five that gain most; here they are marked out where "
        "there are more than five.",
    ),
    "fig6": Description(
        title="BTAD", source="Fig. 6", question="Does it help on BTAD?", paper="PatchCore gains with one given image."
    ),
    "fig7": Description(
        title="MVTec LOCO AD",
        source="Fig. 7",
        question="Does it help with logical and with structural anomalies?",
        paper="PatchCore, one given image: +15.5 image AUROC for logical, +10.6 for structural anomalies.",
    ),
    "fig8": Description(
        title="Prompts",
        source="Fig. 8",
        question="How near are the candidate prompts to the object's name and to the image, and what do the best and "
        "the worst one select?",
        paper="Cosines to the image from 0.17 (worst) to 0.33 (best), by CLIP; to the name, best and worst differ too.",
        differs="L2 distances are left out of the figure: those of unit vectors follow from the cosines.",
    ),
    "fig9": Description(
        title="Similarity over iterations",
        source="Fig. 9",
        question="Does the similarity of the sets to the prompt rise, peak and fall?",
        paper="It rises, peaks and falls.",
    ),
    "fig10": Description(
        title="Effect of the variance",
        source="Fig. 10",
        question="What does sampling with the estimated variance change against a variance of 1?",
        paper="Shown by images and by the latents' distribution: with the estimated variance they keep the look.",
        differs="The latents' distribution is left out: sets are kept as images, and their spread is that of pixels.",
    ),
    "eq6": Description(
        title="The mean of Eq. 6",
        source="",
        question="How much of L_mse should the loop minimise, and is its mean one over values or over images?",
        paper="",
        differs="The paper leaves open what n of Eq. 6 counts. Over images, the squares of an image's values are "
        "summed, which is the same as a factor of 3 x height x width on the mean over values.",
    ),
    "control": Description(
        title="Without generated images",
        source="",
        question="What do few given images recover of what all gain, by copies, moves, turns and augmentations alone?",
        paper="",
        differs="`repeated` adds the given images once more, and so nothing: what it gains, any set gains.",
    ),
    "gain": Description(
        title="Gain of each part",
        source="",
        question="How much of what all good images gain do few of them recover, by each way to make more of them?",
        paper="",
        differs="A detector's name says how it scores an image, and how its given images were taken. With the shots "
        "chosen by coverage the seed decides between equal ones alone, so its spread is that of the methods.",
    ),
    "proxy": Description(
        title="Choosing without test defects",
        source="",
        question="How good is the detector that synthetic defects on held-out good images choose, by the real defects?",
        paper="",
        differs="The regret of a choice is the best test figure of a candidate minus its own. One given image alone "
        "holds nothing out, so it has no proxy.",
    ),
}
"""Experiments by their name."""
