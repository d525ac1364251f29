/* The Laplacian of Gaussian by recursive filters, as ITK's LaplacianRecursiveGaussianImageFilter.
 *
 * Source: R. Deriche, "Recursively implementing the Gaussian and its derivatives", INRIA research report 1893 (1993), with
 * G. Farneback and C.-F. Westin, "Improving Deriche-style recursive Gaussian filters", J. Math. Imaging Vis. 26 (2006);
 * constants and order of operations as ITK 5.4 has them (itkRecursiveGaussianImageFilter, itkRecursiveSeparableImageFilter,
 * Apache-2.0): double within a line, float between the passes, for each axis the second derivative along it and then
 * smoothing along the other two, by ascending axis (x, y, z), and the three sums added up in float.
 *
 * Only the box is wanted. A recursive filter reads whole lines, but the lines of a later pass that miss the box are left
 * out, so that the three passes of an axis work on ever less.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

/* Lines that are filtered at once, one per lane. */
#define LANES 16

typedef struct {
    double n[4];                /* of the inputs, forwards */
    double m[4];                /* of the inputs, backwards */
    double d[4];                /* of the outputs, both ways */
    double edge_n[4], edge_m[4]; /* of the value that goes on for ever before and after the line */
} recursion_t;

typedef struct {
    double n[4], sum, first, second; /* coefficients, their sum, and their moments */
} numerator_t;

/* Constants of the exponential series (Farneback and Westin): the Gaussian and its second derivative. */
static const double FREQUENCY_1 = 0.6681, DECAY_1 = -1.3932, FREQUENCY_2 = 2.0787, DECAY_2 = -1.3732;
static const double GAUSSIAN[4] = {1.3530, 1.8151, -0.3531, 0.0902};
static const double SECOND_DERIVATIVE[4] = {-1.3563, 5.2318, 0.3446, -2.2355};

static numerator_t numerator(double sigma, const double series[4])
{
    const double a1 = series[0], b1 = series[1], a2 = series[2], b2 = series[3];
    const double sin1 = sin(FREQUENCY_1 / sigma), sin2 = sin(FREQUENCY_2 / sigma);
    const double cos1 = cos(FREQUENCY_1 / sigma), cos2 = cos(FREQUENCY_2 / sigma);
    const double exp1 = exp(DECAY_1 / sigma), exp2 = exp(DECAY_2 / sigma);
    numerator_t one;
    double *n = one.n;

    n[0] = a1 + a2;
    n[1] = exp2 * (b2 * sin2 - (a2 + 2 * a1) * cos2);
    n[1] += exp1 * (b1 * sin1 - (a1 + 2 * a2) * cos1);
    n[2] = (a1 + a2) * cos2 * cos1;
    n[2] -= b1 * cos2 * sin1 + b2 * cos1 * sin2;
    n[2] *= 2 * exp1 * exp2;
    n[2] += a2 * exp1 * exp1 + a1 * exp2 * exp2;
    n[3] = exp2 * exp1 * exp1 * (b2 * sin2 - a2 * cos2);
    n[3] += exp1 * exp2 * exp2 * (b1 * sin1 - a1 * cos1);
    one.sum = n[0] + n[1] + n[2] + n[3];
    one.first = n[1] + 2 * n[2] + 3 * n[3];
    one.second = n[1] + 4 * n[2] + 9 * n[3];
    return one;
}

/* The coefficients for one sigma in voxels: of the Gaussian, or of its second derivative times sigma squared. */
static recursion_t coefficients(double sigma, int second_derivative)
{
    const double cos1 = cos(FREQUENCY_1 / sigma), cos2 = cos(FREQUENCY_2 / sigma);
    const double exp1 = exp(DECAY_1 / sigma), exp2 = exp(DECAY_2 / sigma);
    recursion_t r;
    double *d = r.d, *n = r.n, *m = r.m;

    d[3] = exp1 * exp1 * exp2 * exp2;
    d[2] = -2 * cos1 * exp1 * exp2 * exp2;
    d[2] += -2 * cos2 * exp2 * exp1 * exp1;
    d[1] = 4 * cos2 * cos1 * exp1 * exp2;
    d[1] += exp1 * exp1 + exp2 * exp2;
    d[0] = -2 * (exp2 * cos2 + exp1 * cos1);
    const double sum_d = 1.0 + d[0] + d[1] + d[2] + d[3];
    const double first_d = d[0] + 2 * d[1] + 3 * d[2] + 4 * d[3];
    const double second_d = d[0] + 4 * d[1] + 9 * d[2] + 16 * d[3];

    const numerator_t zero = numerator(sigma, GAUSSIAN);
    if (!second_derivative) {
        const double alpha = 2 * zero.sum / sum_d - zero.n[0];
        for (int k = 0; k < 4; k++) n[k] = zero.n[k] * (1.0 / alpha);
    } else {
        const numerator_t two = numerator(sigma, SECOND_DERIVATIVE);
        const double beta = -(2 * two.sum - sum_d * two.n[0]) / (2 * zero.sum - sum_d * zero.n[0]);
        const double sum = two.sum + beta * zero.sum;
        const double first = two.first + beta * zero.first;
        const double second = two.second + beta * zero.second;
        double alpha = second * sum_d * sum_d - second_d * sum * sum_d - 2 * first * first_d * sum_d
                       + 2 * first_d * first_d * sum;
        alpha /= sum_d * sum_d * sum_d;
        const double across_scales = sigma * sigma;
        for (int k = 0; k < 4; k++) {
            n[k] = two.n[k] + beta * zero.n[k];
            n[k] *= across_scales / alpha;
        }
    }

    m[0] = n[1] - d[0] * n[0];
    m[1] = n[2] - d[1] * n[0];
    m[2] = n[3] - d[2] * n[0];
    m[3] = -d[3] * n[0];
    const double sum_n = n[0] + n[1] + n[2] + n[3];
    const double sum_m = m[0] + m[1] + m[2] + m[3];
    for (int k = 0; k < 4; k++) {
        r.edge_n[k] = d[k] * sum_n / sum_d;
        r.edge_m[k] = d[k] * sum_m / sum_d;
    }
    return r;
}

/* Output i of LANES lines at once, from the four before it. */
static inline __attribute__((always_inline)) void step_forwards(const recursion_t *r, const double *restrict in,
                                                                double *forwards, ptrdiff_t i)
{
    const double *restrict a = in + i * LANES;
    const double *before = forwards + (i - 4) * LANES;
    double *o = forwards + i * LANES;
#pragma GCC ivdep
    for (int l = 0; l < LANES; l++) {
        double value = a[l] * r->n[0] + a[l - LANES] * r->n[1] + a[l - 2 * LANES] * r->n[2] + a[l - 3 * LANES] * r->n[3];
        value -= before[l + 3 * LANES] * r->d[0] + before[l + 2 * LANES] * r->d[1] + before[l + LANES] * r->d[2]
                 + before[l] * r->d[3];
        o[l] = value;
    }
}

/* The same from the four after it. */
static inline __attribute__((always_inline)) void step_backwards(const recursion_t *r, const double *restrict in,
                                                                 double *backwards, ptrdiff_t i)
{
    const double *restrict a = in + (i + 1) * LANES;
    const double *after = backwards + (i + 1) * LANES;
    double *o = backwards + i * LANES;
#pragma GCC ivdep
    for (int l = 0; l < LANES; l++) {
        double value = a[l] * r->m[0] + a[l + LANES] * r->m[1] + a[l + 2 * LANES] * r->m[2] + a[l + 3 * LANES] * r->m[3];
        value -= after[l] * r->d[0] + after[l + LANES] * r->d[1] + after[l + 2 * LANES] * r->d[2]
                 + after[l + 3 * LANES] * r->d[3];
        o[l] = value;
    }
}

/* Filter LANES lines at once: in, forwards and backwards are (length, LANES). */
FOR_EACH_WIDTH
static void filter_lines(const recursion_t *coefficients_of, ptrdiff_t length, const double *restrict in, double *restrict forwards,
                         double *restrict backwards, ptrdiff_t low, ptrdiff_t high)
{
    const recursion_t own = *coefficients_of, *r = &own; /* a copy that no result can overlap */
    const double n0 = r->n[0], n1 = r->n[1], n2 = r->n[2], n3 = r->n[3];
    const double m0 = r->m[0], m1 = r->m[1], m2 = r->m[2], m3 = r->m[3];
    const double d0 = r->d[0], d1 = r->d[1], d2 = r->d[2];
    const double *e = r->edge_n, *f = r->edge_m;

    /* Before the line its first value goes on for ever. */
    for (int l = 0; l < LANES; l++) {
        const double v = in[l], i1 = in[LANES + l], i2 = in[2 * LANES + l], i3 = in[3 * LANES + l];
        double o0 = v * n0 + v * n1 + v * n2 + v * n3;
        double o1 = i1 * n0 + v * n1 + v * n2 + v * n3;
        double o2 = i2 * n0 + i1 * n1 + v * n2 + v * n3;
        double o3 = i3 * n0 + i2 * n1 + i1 * n2 + v * n3;
        o0 -= v * e[0] + v * e[1] + v * e[2] + v * e[3];
        o1 -= o0 * d0 + v * e[1] + v * e[2] + v * e[3];
        o2 -= o1 * d0 + o0 * d1 + v * e[2] + v * e[3];
        o3 -= o2 * d0 + o1 * d1 + o0 * d2 + v * e[3];
        forwards[l] = o0;
        forwards[LANES + l] = o1;
        forwards[2 * LANES + l] = o2;
        forwards[3 * LANES + l] = o3;
    }
    /* After the line its last value goes on for ever. */
    const double *end = in + (length - 4) * LANES;
    double *last = backwards + (length - 4) * LANES;
    for (int l = 0; l < LANES; l++) {
        const double v = end[3 * LANES + l], i1 = v, i2 = end[2 * LANES + l], i3 = end[LANES + l];
        double o0 = v * m0 + v * m1 + v * m2 + v * m3;
        double o1 = i1 * m0 + v * m1 + v * m2 + v * m3;
        double o2 = i2 * m0 + i1 * m1 + v * m2 + v * m3;
        double o3 = i3 * m0 + i2 * m1 + i1 * m2 + v * m3;
        o0 -= v * f[0] + v * f[1] + v * f[2] + v * f[3];
        o1 -= o0 * d0 + v * f[1] + v * f[2] + v * f[3];
        o2 -= o1 * d0 + o0 * d1 + v * f[2] + v * f[3];
        o3 -= o2 * d0 + o1 * d1 + o0 * d2 + v * f[3];
        last[3 * LANES + l] = o0;
        last[2 * LANES + l] = o1;
        last[LANES + l] = o2;
        last[l] = o3;
    }
    /* Each step waits for the one before it; two ways that do not wait for each other go side by side. */
    ptrdiff_t i = 4, j = length - 5;
    for (; i < high && j >= low; i++, j--) {
        step_forwards(r, in, forwards, i);
        step_backwards(r, in, backwards, j);
    }
    for (; i < high; i++) step_forwards(r, in, forwards, i);
    for (; j >= low; j--) step_backwards(r, in, backwards, j);
}

/* Read LANES lines that lie `apart` from one another, side by side; their voxels lie `step` apart. */
FOR_EACH_WIDTH
static void read_lines(const int16_t *whole, const float *real, ptrdiff_t apart, ptrdiff_t step, ptrdiff_t length,
                       double *restrict in)
{
    if (apart == 1 && whole)
        for (ptrdiff_t i = 0; i < length; i++)
            for (int l = 0; l < LANES; l++) in[i * LANES + l] = whole[i * step + l];
    else if (apart == 1)
        for (ptrdiff_t i = 0; i < length; i++)
            for (int l = 0; l < LANES; l++) in[i * LANES + l] = real[i * step + l];
    else if (whole)
        for (int l = 0; l < LANES; l++)
            for (ptrdiff_t i = 0; i < length; i++) in[i * LANES + l] = whole[i * step + l * apart];
    else
        for (int l = 0; l < LANES; l++)
            for (ptrdiff_t i = 0; i < length; i++) in[i * LANES + l] = real[i * step + l * apart];
}

/* Write both ways' sum, or add it to what is there. */
FOR_EACH_WIDTH
static void write_lines(const double *restrict forwards, const double *restrict backwards, ptrdiff_t apart, ptrdiff_t step,
                        ptrdiff_t length, int add, float *restrict out)
{
    if (apart == 1 && add)
        for (ptrdiff_t i = 0; i < length; i++)
            for (int l = 0; l < LANES; l++)
                out[i * step + l] += (float)(forwards[i * LANES + l] + backwards[i * LANES + l]);
    else if (apart == 1)
        for (ptrdiff_t i = 0; i < length; i++)
            for (int l = 0; l < LANES; l++)
                out[i * step + l] = (float)(forwards[i * LANES + l] + backwards[i * LANES + l]);
    else
        for (int l = 0; l < LANES; l++)
            for (ptrdiff_t i = 0; i < length; i++) {
                const float sum = (float)(forwards[i * LANES + l] + backwards[i * LANES + l]);
                out[i * step + l * apart] = add ? out[i * step + l * apart] + sum : sum;
            }
}

/* One pass along an axis: reads an array of int16 or of float, keeps low..high of each line, written or added to out. */
static void pass(const recursion_t *r, const int16_t *whole, const float *real, const ptrdiff_t shape[3], int axis,
                 ptrdiff_t low, ptrdiff_t high, int add, float *out, double *work)
{
    const ptrdiff_t length = shape[axis], kept = high - low;
    ptrdiff_t inner = 1;
    for (int k = axis + 1; k < 3; k++) inner *= shape[k];
    const ptrdiff_t lines = shape[0] * shape[1] * shape[2] / length;
    double *in = work, *forwards = in + length * LANES, *backwards = forwards + length * LANES;

    for (ptrdiff_t start = 0; start < lines; start += LANES) {
        ptrdiff_t from[LANES], to[LANES];
        const int used = (int)smaller(LANES, lines - start);
        for (int l = 0; l < LANES; l++) {
            /* Lanes beyond the last line repeat the first of the block. */
            const ptrdiff_t line = start + (l < used ? l : 0);
            from[l] = (line / inner) * inner * length + line % inner;
            to[l] = (line / inner) * inner * kept + line % inner;
        }
        const ptrdiff_t apart = from[1] - from[0], apart_after = to[1] - to[0];
        int evenly = used == LANES;
        for (int l = 2; l < LANES && evenly; l++) evenly = from[l] - from[l - 1] == apart;
        if (evenly)
            read_lines(whole ? whole + from[0] : NULL, whole ? NULL : real + from[0], apart, inner, length, in);
        else
            for (ptrdiff_t i = 0; i < length; i++)
                for (int l = 0; l < LANES; l++)
                    in[i * LANES + l] = whole ? whole[from[l] + i * inner] : real[from[l] + i * inner];
        filter_lines(r, length, in, forwards, backwards, low, high);
        const double *a = forwards + low * LANES, *b = backwards + low * LANES;
        if (evenly)
            write_lines(a, b, apart_after, inner, kept, add, out + to[0]);
        else
            for (ptrdiff_t i = 0; i < kept; i++)
                for (int l = 0; l < used; l++) {
                    float *place = out + to[l] + i * inner;
                    const float sum = (float)(a[i * LANES + l] + b[i * LANES + l]);
                    *place = add ? *place + sum : sum;
                }
    }
}

int laplacian_of_gaussian(const int16_t *hu, const ptrdiff_t shape[3], double sigma, const box_t *box,
                          const uint8_t *mask, float *out)
{
    const recursion_t smoothing = coefficients(sigma, 0), derivative = coefficients(sigma, 1);
    const ptrdiff_t size = shape[0] * shape[1] * shape[2];
    const ptrdiff_t longest = larger(shape[0], larger(shape[1], shape[2]));
    ptrdiff_t kept[3], wanted = 1;
    for (int axis = 0; axis < 3; axis++) wanted *= kept[axis] = box->high[axis] - box->low[axis];

    float *first = malloc(sizeof(float) * (size_t)size), *second = malloc(sizeof(float) * (size_t)size);
    float *sum = calloc((size_t)wanted, sizeof(float));
    double *work = malloc(sizeof(double) * 3 * LANES * (size_t)longest);
    if (!first || !second || !sum || !work) {
        free(first), free(second), free(sum), free(work);
        return -1;
    }
    /* ITK counts axes from x: 2, 1, 0 here. */
    for (int along = 2; along >= 0; along--) {
        const int then = along == 2 ? 1 : 2, at_last = along == 0 ? 1 : 0;
        ptrdiff_t now[3] = {shape[0], shape[1], shape[2]};
        pass(&derivative, hu, NULL, now, along, box->low[along], box->high[along], 0, first, work);
        now[along] = kept[along];
        pass(&smoothing, NULL, first, now, then, box->low[then], box->high[then], 0, second, work);
        now[then] = kept[then];
        pass(&smoothing, NULL, second, now, at_last, box->low[at_last], box->high[at_last], 1, sum, work);
    }
    for (ptrdiff_t k = 0; k < wanted; k++)
        if (mask[k]) *out++ = sum[k];
    free(first), free(second), free(sum), free(work);
    return 0;
}
