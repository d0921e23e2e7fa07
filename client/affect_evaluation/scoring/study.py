"""The regression table of the study that this project grew out of, printed beside our scores."""

from typing import Final

SOURCE: Final = "study: frozen ImageNet backbones on 600 test pictures of AffectNet, as reported; not these pictures"

STUDY_TABLE: Final[dict[str, dict[str, dict[str, float]]]] = {
    "mobilenet_v2": {
        "valence": {"rmse": 0.4435, "corr": 0.3061, "sagr": 0.7183, "ccc": 0.1876},
        "arousal": {"rmse": 0.3696, "corr": 0.2048, "sagr": 0.7650},
    },
    "densenet121": {
        "valence": {"rmse": 0.4545, "corr": 0.2345, "sagr": 0.6817, "ccc": 0.1375},
        "arousal": {"rmse": 0.3751, "corr": 0.1845, "sagr": 0.7667},
    },
}
"""Scores by backbone, output and metric; the study reports no CCC of arousal and no scores of expressions."""
