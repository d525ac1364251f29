/* The sums of the first-order statistics, rounded as numpy rounds them.
 *
 * Source: pyradiomics 3.0.1, firstorder.py (IBSI UHIW); the sums as numpy's add.reduce over a contiguous array of double
 * (pairwise_sum in loops_utils.h.src, BSD-3): eight sums side by side over at most 128 values, halves added up above.
 */
#include <math.h>

#include "kernels.h"

#define BLOCK 128

typedef enum { VALUE, SQUARE, DEVIATION, SECOND, THIRD, FOURTH, INNER, INNER_DEVIATION } term_t;

typedef struct {
    double mean, low, high; /* low and high bound the inner voxels */
} about_t;

static inline double term(term_t what, double v, const about_t *about)
{
    const double d = v - about->mean;
    switch (what) {
    case VALUE: return v;
    case SQUARE: return v * v;
    case DEVIATION: return fabs(d);
    case SECOND: return d * d;
    case THIRD: return (d * d) * d;
    case FOURTH: return (d * d) * (d * d);
    case INNER: return v >= about->low && v <= about->high ? v : 0.0;
    default: return v >= about->low && v <= about->high ? fabs(d) : 0.0;
    }
}

static inline __attribute__((always_inline)) double block(term_t what, const double *v, ptrdiff_t n, const about_t *about)
{
    if (n < 8) {
        double sum = 0;
        for (ptrdiff_t k = 0; k < n; k++) sum += term(what, v[k], about);
        return sum;
    }
    double r[8];
    for (int j = 0; j < 8; j++) r[j] = term(what, v[j], about);
    ptrdiff_t k = 8;
    for (; k < n - n % 8; k += 8)
        for (int j = 0; j < 8; j++) r[j] += term(what, v[k + j], about);
    double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    for (; k < n; k++) sum += term(what, v[k], about);
    return sum;
}

/* One block function per term, so that each loop is free of branches. */
FOR_EACH_WIDTH
static double block_of(term_t what, const double *v, ptrdiff_t n, const about_t *about)
{
    switch (what) {
    case VALUE: return block(VALUE, v, n, about);
    case SQUARE: return block(SQUARE, v, n, about);
    case DEVIATION: return block(DEVIATION, v, n, about);
    case SECOND: return block(SECOND, v, n, about);
    case THIRD: return block(THIRD, v, n, about);
    case FOURTH: return block(FOURTH, v, n, about);
    case INNER: return block(INNER, v, n, about);
    default: return block(INNER_DEVIATION, v, n, about);
    }
}

static double pairwise(term_t what, const double *v, ptrdiff_t n, const about_t *about)
{
    if (n <= BLOCK) return block_of(what, v, n, about);
    ptrdiff_t half = n / 2;
    half -= half % 8;
    return pairwise(what, v, half, about) + pairwise(what, v + half, n - half, about);
}

/* sums: energy, mean, absolute deviations, second, third and fourth powers of deviations, inner voxels' number, their
 * mean's absolute deviations. */
void moments(const double *values, ptrdiff_t n, double low, double high, double sums[8])
{
    about_t about = {0, low, high};
    ptrdiff_t inner = 0;
    for (ptrdiff_t k = 0; k < n; k++) inner += values[k] >= low && values[k] <= high;
    sums[0] = pairwise(SQUARE, values, n, &about);
    sums[1] = pairwise(VALUE, values, n, &about) / (double)n;
    about.mean = sums[1];
    sums[2] = pairwise(DEVIATION, values, n, &about);
    sums[3] = pairwise(SECOND, values, n, &about);
    sums[4] = pairwise(THIRD, values, n, &about);
    sums[5] = pairwise(FOURTH, values, n, &about);
    sums[6] = (double)inner;
    about.mean = pairwise(INNER, values, n, &about) / (double)inner;
    sums[7] = pairwise(INNER_DEVIATION, values, n, &about);
}
