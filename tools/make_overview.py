"""Draw the course's picture, for README.md and the front page."""

from pathlib import Path

from snnlib import (
    PoissonEncoder,
    activation_scales,
    convert,
    load_digits,
    load_trained_cnn,
    normalize_weights,
    plotting,
    record,
)
from snnlib.plotting.simulation import plot_overview
from snnlib.storage import write_whole

PICTURE = Path(__file__).parent.parent / "_static" / "overview.png"
IMAGE = 3848  # a seven that is first taken for a three

if __name__ == "__main__":
    plotting.use_course_style()
    train, test = load_digits("train"), load_digits("test")
    cnn = load_trained_cnn("digits")
    snn = convert(normalize_weights(cnn, activation_scales(cnn, train.images, percentile=99.9)))
    recording = record(snn, test.images[IMAGE], encoder=PoissonEncoder(0.4), index=IMAGE)
    figure = plot_overview(recording, test.class_names, int(test.labels[IMAGE]))
    write_whole(PICTURE, lambda path: figure.savefig(path, format="png", dpi=140))
