// Where a series steps: the best piecewise constant fit, with a penalty that bounds false alarms.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace ringside {

/// A run of points with one mean.
struct Segment {
  std::size_t begin = 0, size = 0;
  double mean = 0;
};

/// Points of a segment, at least: one outlier is none.
inline constexpr std::size_t kLeastSegment = 2;
/// Changes that are looked for, at most.
inline constexpr std::size_t kMostChanges = 40;
/// Each change has to earn a factor α in probability.
inline constexpr double kAlpha = 0.001;
/// Probability that a series of independent Gaussian noise of any mean and variance, of any length, has a
/// change: the sum of α^m over m >= 1 changes.
inline constexpr double kFalseAlarms = kAlpha / (1 - kAlpha);

/// The fit of least squares with a given number of changes.
struct Fit {
  double rss = 0;                     ///< sum of squared distances from the segments' means
  std::vector<std::size_t> begins{};  ///< of the segments; the first is 0
};

/// The best of all segmentations with 0, 1 … `most` changes, as far as there are any, by dynamic programming
/// (Bellman 1961); O(n² · most). Of equals that with the earliest last change. y: not empty.
std::vector<Fit> best_fits(std::span<const double> y, std::size_t most);

/// The largest rss of m changes as a share of that of none which counts as evidence for them.
///
/// Under the model (y_i independent, Gaussian, of one variance; no change) a segmentation chosen beforehand
/// has rss_m = σ²·χ²(n-1-m) and rss_0 - rss_m = σ²·χ²(m), independent (Cochran), so that
/// rss_m / rss_0 ~ Beta((n-1-m)/2, m/2), whatever the mean and variance. There are N = C(n-m-2, m)
/// segmentations with segments of at least 2 points (m+1 segments take 2(m+1) points, the other n-2m-2 are
/// dealt out). The threshold is the α^m / N quantile of that distribution: by the union bound the best of
/// them lies below it with a probability of at most α^m. The construction is that of Baraud, Giraud, Huet,
/// "Gaussian model selection with an unknown variance", Annals of Statistics 37 (2009) 630, section 2.1:
/// quantiles of the ratio, weighted by the number of models of a size.
double evidence_ratio(std::size_t points, std::size_t changes);

/// y, with each point that lies further than 5 standard deviations beyond both its neighbours, on the same
/// side, put to the nearer of them; at an end, beyond the two points next to it. σ is the median
/// |y_i+1 - y_i| as a Gaussian's, which steps and outliers hardly move. Two points of one level keep each
/// other.
std::vector<double> without_outliers(std::span<const double> y);

/// The segments of y: the number of changes m minimises rss_m / evidence_ratio(n, m), where a ratio of 1
/// stands for none, so that noise has changes with a probability of at most kFalseAlarms.
///
/// A segment of a single outlier, however large, and its neighbour halves rss, and may do a little more by
/// chance. Where that would be evidence (evidence_ratio(n, 1) >= 0.45: from some 23 points on) outliers
/// are taken out before. In Gaussian noise that moves a point of one series in a hundred; the measured rate
/// of false alarms stays within the bound. (From 17 points on it would not: σ is not known well enough.)
/// Fewer than 4 points have no change. Values that are all equal are noise of variance 0: no change; steps
/// without noise are found exactly. Throws std::invalid_argument for what is not finite.
std::vector<Segment> segments(std::span<const double> y);

}  // namespace ringside
