"""The features of a drawn face, and how an expression, valence and arousal move them."""

from dataclasses import dataclass, fields
from typing import Final

from affect_contract.labels import Expression


@dataclass(frozen=True)
class Features:
    """The positions of the movable parts of a face; 0 is at rest, and about -1 to 1 is a strong movement."""

    brow_raise: float = 0.0
    """Above 0 both brows are raised, below 0 lowered."""
    brow_inner: float = 0.0
    """Above 0 the inner ends of the brows are raised (worry), below 0 lowered (frown)."""
    brow_together: float = 0.0
    eye_open: float = 0.0
    """Above 0 the eyes are wide, below 0 narrowed."""
    mouth_curve: float = 0.0
    """Above 0 the corners of the mouth point up, below 0 down."""
    mouth_open: float = 0.0
    """Above 0 the lips part, below 0 they are pressed together."""
    mouth_width: float = 0.0
    mouth_slant: float = 0.0
    """Above 0 one corner of the mouth is higher than the other."""
    lip_raise: float = 0.0
    """Above 0 the upper lip is drawn up and the nose wrinkled."""
    cheeks: float = 0.0
    """Above 0 the cheeks are lifted and flushed."""


_TYPICAL_FEATURES: Final = {
    Expression.NEUTRAL: Features(),
    Expression.HAPPY: Features(
        brow_raise=0.2, eye_open=-0.25, mouth_curve=0.85, mouth_open=0.35, mouth_width=0.5, cheeks=1.0
    ),
    Expression.SAD: Features(
        brow_raise=0.0, brow_inner=0.9, brow_together=0.3, eye_open=-0.35, mouth_curve=-0.75, mouth_width=-0.2
    ),
    Expression.SURPRISE: Features(brow_raise=1.0, eye_open=0.8, mouth_open=0.95, mouth_width=-0.55),
    Expression.FEAR: Features(
        brow_raise=0.55,
        brow_inner=0.75,
        brow_together=0.7,
        eye_open=0.9,
        mouth_curve=-0.35,
        mouth_open=0.35,
        mouth_width=0.5,
    ),
    Expression.DISGUST: Features(
        brow_raise=-0.45,
        brow_inner=-0.25,
        brow_together=0.4,
        eye_open=-0.6,
        mouth_curve=-0.55,
        mouth_open=0.15,
        lip_raise=1.0,
    ),
    Expression.ANGER: Features(
        brow_raise=-0.5,
        brow_inner=-1.0,
        brow_together=0.9,
        eye_open=0.15,
        mouth_curve=-0.45,
        mouth_open=-0.6,
        mouth_width=-0.1,
    ),
    Expression.CONTEMPT: Features(
        brow_raise=0.1, brow_inner=-0.15, eye_open=-0.3, mouth_curve=0.0, mouth_open=-0.3, mouth_slant=1.0
    ),
}

TYPICAL_AFFECT: Final = {
    Expression.NEUTRAL: (0.0, 0.0),
    Expression.HAPPY: (0.65, 0.15),
    Expression.SAD: (-0.6, -0.35),
    Expression.SURPRISE: (0.2, 0.7),
    Expression.FEAR: (-0.2, 0.75),
    Expression.DISGUST: (-0.65, 0.4),
    Expression.ANGER: (-0.5, 0.6),
    Expression.CONTEMPT: (-0.35, 0.2),
}
"""The typical valence and arousal of each expression, after Russell (1980), J. Pers. Soc. Psychol. 39(6)."""

_PER_VALENCE: Final = Features(mouth_curve=0.7, cheeks=0.5, brow_inner=0.1)
_PER_AROUSAL: Final = Features(eye_open=0.6, brow_raise=0.5, mouth_open=0.4)
"""The change of the features when valence, or arousal, is 1 above the typical one."""


def features_of(expression: Expression, valence: float, arousal: float) -> Features:
    """Return the features of a face that shows an expression with this valence and arousal, each in [-1, 1]."""
    typical = _TYPICAL_FEATURES[expression]
    typical_valence, typical_arousal = TYPICAL_AFFECT[expression]
    positions = {
        feature.name: getattr(typical, feature.name)
        + (valence - typical_valence) * getattr(_PER_VALENCE, feature.name)
        + (arousal - typical_arousal) * getattr(_PER_AROUSAL, feature.name)
        for feature in fields(Features)
    }
    return Features(**positions)
