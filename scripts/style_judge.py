"""A judge of stylised pictures that uses no network.

For a result, its style picture and its content picture it measures

- **style distance**: the sliced Wasserstein distance between 5 × 5 patches of the result and of the style picture, at
  every level of a Laplacian pyramid and at its coarsest Gaussian level, and between their colours; each divided by
  the same distance between content and style, then averaged. 0 is the style picture, 1 the untouched photo.
- **structure**: the correlation of the strength of luminance edges with the content's, mean of two scales. 1 is
  the photo.
- **grain**: the result's high-frequency noise in units of the style picture's (Immerkær 1996, "Fast noise variance
  estimation"): what is left where straight edges and gradients are taken off. Speckle raises it far above 1.
- **chroma grain**: the same once each pixel's luminance is taken off its colours: coloured speckle alone, which hides
  in the grain of a picture that is mostly grey.

Pictures are RGB in [0, 1], height × width × 3; result and content of one size, the style picture of any. NumPy only;
the random directions and places are drawn from a fixed seed, so that a verdict is a function of its pictures.
"""

from typing import NamedTuple

import numpy as np

PATCH = 5
DIRECTIONS = 64
SAMPLES = 6000
QUANTILES = 400
SMALLEST = 24  # the pyramid ends where the shorter side would fall below this, pixels
EDGE_LEVELS = (1, 2)  # half and quarter size: objects, not strokes
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


class Verdict(NamedTuple):
    """style_distance: 0 is the style, 1 the photo. structure: correlation. Both grains: in units of the style's."""

    style_distance: float
    structure: float
    grain: float
    chroma_grain: float


def blur(picture: np.ndarray) -> np.ndarray:
    """The binomial filter (1 4 6 4 1)/16 along both axes, borders mirrored."""
    for axis in (0, 1):
        pads = [(2, 2) if index == axis else (0, 0) for index in range(picture.ndim)]
        padded = np.pad(picture, pads, mode="symmetric")
        length = picture.shape[axis]
        parts = [np.take(padded, range(shift, shift + length), axis) for shift in range(5)]
        picture = (parts[0] + parts[4]) / 16 + (parts[1] + parts[3]) / 4 + parts[2] * 0.375
    return picture


def gaussian_pyramid(picture: np.ndarray) -> list[np.ndarray]:
    """The picture, then blurred and halved as long as the shorter side stays at or above `SMALLEST`."""
    levels = [np.asarray(picture, np.float64)]
    while min(levels[-1].shape[:2]) // 2 >= SMALLEST:
        levels.append(blur(levels[-1])[::2, ::2])
    return levels


def laplacian_pyramid(picture: np.ndarray) -> list[np.ndarray]:
    """What blurring takes away at every level of the Gaussian pyramid, then the coarsest level itself."""
    levels = gaussian_pyramid(picture)
    return [level - blur(level) for level in levels] + [levels[-1]]


def patches_of(picture: np.ndarray, side: int = PATCH, count: int = SAMPLES) -> np.ndarray:
    """At most `count` patches, patches × (side · side · 3), drawn from all places; the size alone decides which."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, (side, side), axis=(0, 1))
    rows, columns = windows.shape[:2]
    places = np.random.default_rng(0).permutation(rows * columns)[:count]
    return windows[places // columns, places % columns].reshape(len(places), -1)


def sliced_wasserstein(points: np.ndarray, others: np.ndarray) -> float:
    """Mean over random directions of the 1-Wasserstein distance of the two projected clouds (points × dimensions).

    Rabin et al. 2011, "Wasserstein barycenter and its application to texture mixing". Quantiles stand for the sorted
    projections, so that the clouds may differ in number.
    """
    directions = np.random.default_rng(1).standard_normal((points.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    middles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    first, second = (
        np.sort(cloud @ directions, axis=0)[(middles * len(cloud)).astype(int)] for cloud in (points, others)
    )
    return float(np.abs(first - second).mean())


def style_distances(picture: np.ndarray, style: np.ndarray) -> np.ndarray:
    """One distance per pyramid level that both pictures have, finest first, then that of colours."""
    pairs = zip(laplacian_pyramid(picture)[:-1], laplacian_pyramid(style)[:-1], strict=False)
    distances = [sliced_wasserstein(patches_of(one), patches_of(other)) for one, other in pairs]
    depth = min(len(gaussian_pyramid(picture)), len(gaussian_pyramid(style))) - 1
    coarsest = [gaussian_pyramid(image)[depth] for image in (picture, style)]
    distances.append(sliced_wasserstein(*(patches_of(image) for image in coarsest)))
    distances.append(sliced_wasserstein(*(patches_of(np.asarray(image), side=1) for image in (picture, style))))
    return np.array(distances)


def style_distance(result: np.ndarray, style: np.ndarray, content: np.ndarray) -> float:
    """Distance of result and style relative to that of content and style; mean over levels and colours."""
    reference = np.maximum(style_distances(content, style), 1e-6)  # content and style may be the same picture
    return float((style_distances(result, style) / reference).mean())


def edge_strength(picture: np.ndarray, level: int) -> np.ndarray:
    """Length of the luminance gradient at one level of the Gaussian pyramid."""
    levels = gaussian_pyramid(picture @ LUMINANCE)
    return np.hypot(*np.gradient(levels[min(level, len(levels) - 1)]))


def structure_kept(result: np.ndarray, content: np.ndarray) -> float:
    """Correlation of edge strengths, mean over `EDGE_LEVELS`; zero where a picture has no edges."""
    scores = []
    for level in EDGE_LEVELS:
        one, other = (edge_strength(picture, level) for picture in (result, content))
        spread = one.std() * other.std()
        scores.append(((one - one.mean()) * (other - other.mean())).mean() / spread if spread > 1e-12 else 0.0)
    return float(np.mean(scores))


def noise_level(picture: np.ndarray) -> float:
    """Immerkær's estimate of the standard deviation of white noise, mean over colour channels."""
    second = picture[:, :-2] - 2 * picture[:, 1:-1] + picture[:, 2:]
    mixed = second[:-2] - 2 * second[1:-1] + second[2:]
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(mixed).mean())


def chroma_noise(picture: np.ndarray) -> float:
    """`noise_level` of the colours without their luminance; zero for a grey picture."""
    return noise_level(picture - (picture @ LUMINANCE)[..., None])


def judge(result: np.ndarray, style: np.ndarray, content: np.ndarray) -> Verdict:
    """The four measures of one result.

    Raises:
        ValueError: where result and content differ in size.
    """
    if result.shape != content.shape:
        raise ValueError(f"result has shape {result.shape} and content {content.shape}; expected the same")
    grain, chroma_grain = (level(result) / max(level(style), 1e-6) for level in (noise_level, chroma_noise))
    return Verdict(style_distance(result, style, content), structure_kept(result, content), grain, chroma_grain)
