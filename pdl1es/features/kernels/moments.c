/* The sums of the first-order statistics, rounded as numpy rounds them.
 *
 * Source: pyradiomics 3.0.1, firstorder.py (IBSI UHIW); the sums as numpy's add.reduce over a contiguous array of double
 * (pairwise_sum in loops_utils.h.src, BSD-3): eight sums side by side over at most 128 values, halves added up above.
 */
#include <math.h>
#include <string.h>

#include "kernels.h"

#define BLOCK 128

typedef enum { VALUE, SQUARE, INNER, DEVIATION, SECOND, THIRD, FOURTH, INNER_DEVIATION, TERMS } term_t;

/* Eight values side by side, as numpy has them; on whatever registers there are. */
typedef double eight_t __attribute__((vector_size(64)));

typedef struct {
    double low, high;        /* bound the inner voxels */
    double mean, inner_mean; /* of all voxels, of the inner ones */
} about_t;

/* Sums over one block or more. */
typedef struct {
    double of[TERMS];
    ptrdiff_t inner; /* how many voxels are */
} sums_t;

static inline __attribute__((always_inline)) double added_up(const eight_t *r)
{
    return (((*r)[0] + (*r)[1]) + ((*r)[2] + (*r)[3])) + (((*r)[4] + (*r)[5]) + ((*r)[6] + (*r)[7]));
}

/* Of voxels that are not inner ones 0 is kept, so that all sums run over the same places. */
static inline __attribute__((always_inline)) ptrdiff_t keep_inner(const double *v, ptrdiff_t n, const about_t *about,
                                                                  double *kept)
{
    const double low = about->low, high = about->high;
    int64_t count = 0;
    for (ptrdiff_t k = 0; k < n; k++) {
        const int within = (v[k] >= low) & (v[k] <= high);
        kept[k] = within ? v[k] : 0.0;
        count += within;
    }
    return count;
}

/* What is known before the mean. */
FOR_EACH_WIDTH
static void first_block(const double *v, ptrdiff_t n, const about_t *about, sums_t *sums)
{
    double kept[BLOCK], value = 0, square = 0, inner = 0;
    ptrdiff_t k = 0;
    sums->inner = keep_inner(v, n, about, kept);
    if (n >= 8) {
        eight_t values, squares, inners, x, y;
        memcpy(&values, v, sizeof x);
        memcpy(&inners, kept, sizeof x);
        squares = values * values;
        for (k = 8; k < n - n % 8; k += 8) {
            memcpy(&x, v + k, sizeof x);
            memcpy(&y, kept + k, sizeof y);
            values += x;
            squares += x * x;
            inners += y;
        }
        value = added_up(&values), square = added_up(&squares), inner = added_up(&inners);
    }
    for (; k < n; k++) {
        value += v[k];
        square += v[k] * v[k];
        inner += kept[k];
    }
    sums->of[VALUE] = value, sums->of[SQUARE] = square, sums->of[INNER] = inner;
}

/* What needs the mean. */
FOR_EACH_WIDTH
static void second_block(const double *v, ptrdiff_t n, const about_t *about, sums_t *sums)
{
    const double low = about->low, high = about->high, mean = about->mean, inner_mean = about->inner_mean;
    double kept[BLOCK], magnitudes[BLOCK], deviation = 0, second = 0, third = 0, fourth = 0, inner = 0;
    for (ptrdiff_t k = 0; k < n; k++) {
        kept[k] = (v[k] >= low) & (v[k] <= high) ? fabs(v[k] - inner_mean) : 0.0;
        magnitudes[k] = fabs(v[k] - mean);
    }
    ptrdiff_t k = 0;
    if (n >= 8) {
        eight_t deviations, seconds, thirds, fourths, inners, x, y, z;
        memcpy(&x, v, sizeof x);
        memcpy(&inners, kept, sizeof x);
        memcpy(&deviations, magnitudes, sizeof x);
        x -= mean;
        seconds = x * x, thirds = seconds * x, fourths = seconds * seconds;
        for (k = 8; k < n - n % 8; k += 8) {
            memcpy(&x, v + k, sizeof x);
            memcpy(&y, kept + k, sizeof y);
            memcpy(&z, magnitudes + k, sizeof z);
            x -= mean;
            const eight_t square = x * x;
            deviations += z;
            seconds += square;
            thirds += square * x;
            fourths += square * square;
            inners += y;
        }
        deviation = added_up(&deviations), second = added_up(&seconds), third = added_up(&thirds);
        fourth = added_up(&fourths), inner = added_up(&inners);
    }
    for (; k < n; k++) {
        const double d = v[k] - mean, square = d * d;
        deviation += magnitudes[k];
        second += square;
        third += square * d;
        fourth += square * square;
        inner += kept[k];
    }
    sums->of[DEVIATION] = deviation, sums->of[SECOND] = second, sums->of[THIRD] = third, sums->of[FOURTH] = fourth;
    sums->of[INNER_DEVIATION] = inner;
}

typedef struct {
    const void *values;
    char kind; /* 'h' (int16), 'f' or 'd' */
} image_t;

FOR_EACH_WIDTH
static const double *as_double(const image_t *image, ptrdiff_t first, ptrdiff_t n, double *place)
{
    if (image->kind == 'd') return (const double *)image->values + first;
    const int16_t *whole = (const int16_t *)image->values + first;
    const float *real = (const float *)image->values + first;
    if (image->kind == 'h')
        for (ptrdiff_t k = 0; k < n; k++) place[k] = whole[k];
    else
        for (ptrdiff_t k = 0; k < n; k++) place[k] = real[k];
    return place;
}

/* Sum up the voxels from `first` on: before the mean is known, or after it. */
static sums_t pairwise(const image_t *image, ptrdiff_t first, ptrdiff_t n, const about_t *about, int mean_known)
{
    sums_t sums = {{0}, 0};
    if (n <= BLOCK) {
        double place[BLOCK];
        const double *v = as_double(image, first, n, place);
        if (mean_known)
            second_block(v, n, about, &sums);
        else
            first_block(v, n, about, &sums);
        return sums;
    }
    ptrdiff_t half = n / 2;
    half -= half % 8;
    const sums_t left = pairwise(image, first, half, about, mean_known);
    const sums_t right = pairwise(image, first + half, n - half, about, mean_known);
    for (int what = 0; what < TERMS; what++) sums.of[what] = left.of[what] + right.of[what];
    sums.inner = left.inner + right.inner;
    return sums;
}

/* sums: energy, mean, absolute deviations, second, third and fourth powers of deviations, inner voxels' number, their
 * mean's absolute deviations. */
void moments(const void *values, char kind, ptrdiff_t n, double low, double high, double sums[8])
{
    const image_t image = {values, kind};
    about_t about = {low, high, 0, 0};
    const sums_t before = pairwise(&image, 0, n, &about, 0);
    about.mean = before.of[VALUE] / (double)n;
    about.inner_mean = before.of[INNER] / (double)before.inner;
    const sums_t after = pairwise(&image, 0, n, &about, 1);
    sums[0] = before.of[SQUARE];
    sums[1] = about.mean;
    sums[2] = after.of[DEVIATION];
    sums[3] = after.of[SECOND];
    sums[4] = after.of[THIRD];
    sums[5] = after.of[FOURTH];
    sums[6] = (double)before.inner;
    sums[7] = after.of[INNER_DEVIATION];
}
