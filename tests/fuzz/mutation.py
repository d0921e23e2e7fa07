"""Bytes made worse, as hypothesis strategies and at random."""

import random

from hypothesis import strategies as st

INTERESTING = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\r\n",
    b'"',
)


def mutated(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """A seed with some places overwritten, a stretch doubled or dropped, and an end cut off."""
    place = st.floats(0, 1, exclude_max=True)
    piece = st.one_of(st.sampled_from(INTERESTING), st.binary(max_size=6))
    return st.builds(
        worse,
        st.sampled_from(seeds),
        st.lists(st.tuples(place, piece, st.booleans()), max_size=6),
        st.one_of(st.none(), st.tuples(place, place, st.integers(0, 3))),
        st.one_of(st.just(1.0), st.floats(0, 1)),
    )


def worse(
    seed: bytes, edits: list[tuple[float, bytes, bool]], stretch: tuple[float, float, int] | None, kept: float
) -> bytes:
    data = bytearray(seed)
    for place, piece, inserted in edits:
        at = int(place * len(data))
        data[at : at if inserted else at + len(piece)] = piece
    if stretch is not None:
        start, end = sorted(int(place * len(data)) for place in stretch[:2])
        data[start:end] = data[start:end] * stretch[2]
    return bytes(data[: int(kept * len(data))])


def at_random(seeds: list[bytes], rng: random.Random) -> bytes:
    """The same, from a generator."""
    edits = [
        (
            rng.random(),
            rng.choice(INTERESTING) if rng.random() < 0.5 else rng.randbytes(rng.randrange(6)),
            rng.random() < 0.5,
        )
        for _ in range(rng.randrange(6))
    ]
    stretch = (rng.random(), rng.random(), rng.randrange(4)) if rng.random() < 0.2 else None
    return worse(rng.choice(seeds), edits, stretch, 1.0 if rng.random() < 0.7 else rng.random())
