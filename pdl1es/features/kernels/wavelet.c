/* One level of the undecimated 2-D wavelet transform of each axial slice, as PyWavelets' swtn.
 *
 * Source: the stationary wavelet transform of G. P. Nason and B. W. Silverman (1995); the order in which products are added
 * up as in PyWavelets 1.9 (downsampling_convolution_periodization in convolution.template.c, MIT): by ascending filter
 * index, but where the filter wraps around the end of a line the wrapped voxels come first, from the line's first on.
 *
 * Along x first, then along y. A line of odd length is followed by its first voxel again, as pyradiomics pads it.
 */
#include <stdlib.h>

#include "kernels.h"

static ptrdiff_t wrapped(ptrdiff_t position, ptrdiff_t length) { return ((position % length) + length) % length; }

/* The products of one output: which filter index comes t-th, for an output at o of a line of even length n. */
static int tap(ptrdiff_t o, ptrdiff_t n, int taps, int t)
{
    const ptrdiff_t beyond = o + taps / 2 - n + 1;
    return t < beyond ? (int)(beyond - 1 - t) : t;
}

/* Low and high pass of one line whose outputs are low..high; line[k] is the voxel at low - taps/2 + 1 + k. */
FOR_EACH_WIDTH
static void along_x(const double *restrict line, const double *restrict lo, const double *restrict hi, int taps,
                    ptrdiff_t low, ptrdiff_t high, ptrdiff_t n, double *restrict low_pass, double *restrict high_pass)
{
    const ptrdiff_t width = high - low;
    for (ptrdiff_t x = 0; x < width; x++) low_pass[x] = high_pass[x] = 0;
    for (int j = 0; j < taps; j++) {
        const double *restrict at = line + taps - 1 - j;
        for (ptrdiff_t x = 0; x < width; x++) {
            low_pass[x] += lo[j] * at[x];
            high_pass[x] += hi[j] * at[x];
        }
    }
    for (ptrdiff_t x = larger(0, n - taps / 2 - low); x < width; x++) {
        double a = 0, d = 0;
        for (int t = 0; t < taps; t++) {
            const int j = tap(low + x, n, taps, t);
            a += lo[j] * line[x + taps - 1 - j];
            d += hi[j] * line[x + taps - 1 - j];
        }
        low_pass[x] = a;
        high_pass[x] = d;
    }
}

/* Add one product to the outputs of a row. */
FOR_EACH_WIDTH
static void add_row(const double *restrict row_a, const double *restrict row_d, double lo, double hi, ptrdiff_t width,
                    double *restrict aa, double *restrict ad, double *restrict da, double *restrict dd)
{
    for (ptrdiff_t x = 0; x < width; x++) {
        aa[x] += lo * row_a[x];
        ad[x] += hi * row_a[x];
        da[x] += lo * row_d[x];
        dd[x] += hi * row_d[x];
    }
}

int wavelet(const int16_t *hu, const ptrdiff_t shape[3], const double *lo, const double *hi, int taps, const box_t *box,
            const uint8_t *mask, double *out, ptrdiff_t voxels)
{
    const ptrdiff_t rows = shape[1], columns = shape[2];
    const ptrdiff_t even_rows = rows + rows % 2, even_columns = columns + columns % 2;
    const ptrdiff_t height = box->high[1] - box->low[1], width = box->high[2] - box->low[2];
    const ptrdiff_t first_row = box->low[1] - taps / 2 + 1, first_column = box->low[2] - taps / 2 + 1;
    const ptrdiff_t read_rows = height + taps - 1, read_columns = width + taps - 1;
    double *line = malloc(sizeof(double) * (size_t)(read_columns + (2 * read_rows + 4) * width));
    if (!line) return -1;
    double *low_pass = line + read_columns, *high_pass = low_pass + read_rows * width;
    double *aa = high_pass + read_rows * width, *ad = aa + width, *da = ad + width, *dd = da + width;

    ptrdiff_t found = 0;
    for (ptrdiff_t z = box->low[0]; z < box->high[0]; z++) {
        for (ptrdiff_t k = 0; k < read_rows; k++) {
            const ptrdiff_t y = wrapped(first_row + k, even_rows) % rows;
            const int16_t *row = hu + (z * rows + y) * columns;
            for (ptrdiff_t i = 0; i < read_columns; i++) {
                const ptrdiff_t x = first_column + i;
                line[i] = row[x >= 0 && x < columns ? x : wrapped(x, even_columns) % columns];
            }
            along_x(line, lo, hi, taps, box->low[2], box->high[2], even_columns, low_pass + k * width,
                    high_pass + k * width);
        }
        for (ptrdiff_t y = 0; y < height; y++, mask += width) {
            ptrdiff_t any = 0;
            for (ptrdiff_t x = 0; x < width; x++) any |= mask[x];
            if (!any) continue;
            for (ptrdiff_t x = 0; x < 4 * width; x++) aa[x] = 0;
            for (int t = 0; t < taps; t++) {
                const int j = tap(box->low[1] + y, even_rows, taps, t);
                const ptrdiff_t at = (y + taps - 1 - j) * width;
                add_row(low_pass + at, high_pass + at, lo[j], hi[j], width, aa, ad, da, dd);
            }
            for (ptrdiff_t x = 0; x < width; x++)
                if (mask[x]) {
                    out[found] = aa[x];
                    out[voxels + found] = ad[x];
                    out[2 * voxels + found] = da[x];
                    out[3 * voxels + found] = dd[x];
                    found++;
                }
        }
    }
    free(line);
    return 0;
}
