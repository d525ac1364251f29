/* The rotation-invariant uniform local binary pattern of each axial slice, as scikit-image's local_binary_pattern.
 *
 * Source: T. Ojala, M. Pietikainen and T. Maenpaa, IEEE PAMI 24 (2002); interpolation and rounding as in scikit-image 0.26
 * (skimage/feature/_texture.pyx, _shared/interpolation.pxd, BSD-3): a sample lies at the voxel's row and column plus an
 * offset, so that the row and the column themselves enter its rounding; beyond the slice there is 0.
 */
#include <math.h>
#include <stdlib.h>

#include "kernels.h"

#define SAMPLES 8

/* Set one bit of the codes of a row where the sample is not below the voxel. */
FOR_EACH_WIDTH
static void compare(const double *restrict centre, const double *restrict top, const double *restrict bottom,
                    ptrdiff_t right, double down, const double *restrict across, ptrdiff_t width, int bit,
                    int32_t *restrict codes)
{
    const double up = 1 - down;
    for (ptrdiff_t x = 0; x < width; x++) {
        const double a = (1 - across[x]) * top[x] + across[x] * top[x + right];
        const double b = (1 - across[x]) * bottom[x] + across[x] * bottom[x + right];
        codes[x] |= (int32_t)(up * a + down * b - centre[x] >= 0) << bit;
    }
}

/* The same for a sample that lies on a voxel, which interpolation leaves as it is. */
FOR_EACH_WIDTH
static void compare_voxel(const double *restrict centre, const double *restrict sample, ptrdiff_t width, int bit,
                          int32_t *restrict codes)
{
    for (ptrdiff_t x = 0; x < width; x++) codes[x] |= (int32_t)(sample[x] - centre[x] >= 0) << bit;
}

/* Returns -1 where memory lacks, -2 where the offsets are not those of a circle of less than `margin` voxels. */
int local_binary_pattern(const int16_t *hu, const ptrdiff_t shape[3], const double *row_offsets,
                         const double *column_offsets, int samples, ptrdiff_t margin, const box_t *box,
                         const uint8_t *mask, int16_t *out)
{
    const ptrdiff_t rows = shape[1], columns = shape[2];
    const ptrdiff_t height = box->high[1] - box->low[1], width = box->high[2] - box->low[2];
    const ptrdiff_t padded = width + 2 * margin;
    int16_t patterns[1 << SAMPLES];
    for (int code = 0; code < 1 << samples; code++) {
        int changes = 0, ones = 0;
        for (int i = 0; i < samples; i++) ones += code >> i & 1;
        for (int i = 0; i < samples - 1; i++) changes += (code >> i & 1) != (code >> (i + 1) & 1);
        patterns[code] = (int16_t)(changes <= 2 ? ones : samples + 1);
    }

    double *plane = malloc(sizeof(double) * (size_t)((height + 2 * margin) * padded + samples * width));
    int32_t *codes = malloc(sizeof(int32_t) * (size_t)width);
    if (!plane || !codes) {
        free(plane), free(codes);
        return -1;
    }
    double *across = plane + (height + 2 * margin) * padded;
    ptrdiff_t to_left[SAMPLES], to_right[SAMPLES];
    int status = 0;
    for (int i = 0; i < samples; i++)
        for (ptrdiff_t x = 0; x < width; x++) {
            const double column = (double)(box->low[2] + x) + column_offsets[i];
            const ptrdiff_t left = (ptrdiff_t)floor(column) - box->low[2] - x;
            const ptrdiff_t right = (ptrdiff_t)(ceil(column) - floor(column));
            across[i * width + x] = column - floor(column);
            if (x == 0) to_left[i] = left, to_right[i] = right;
            if (left != to_left[i] || right != to_right[i] || left < -margin || left + right > margin) status = -2;
        }

    for (ptrdiff_t z = box->low[0]; z < box->high[0] && !status; z++) {
        for (ptrdiff_t k = 0; k < height + 2 * margin; k++) {
            const ptrdiff_t y = box->low[1] - margin + k;
            const int16_t *row = hu + (z * rows + y) * columns;
            for (ptrdiff_t i = 0; i < padded; i++) {
                const ptrdiff_t x = box->low[2] - margin + i;
                plane[k * padded + i] = y >= 0 && y < rows && x >= 0 && x < columns ? row[x] : 0;
            }
        }
        for (ptrdiff_t y = 0; y < height && !status; y++, mask += width) {
            ptrdiff_t any = 0;
            for (ptrdiff_t x = 0; x < width; x++) any |= mask[x];
            if (!any) continue;
            const double *centre = plane + (y + margin) * padded + margin;
            for (ptrdiff_t x = 0; x < width; x++) codes[x] = 0;
            for (int i = 0; i < samples; i++) {
                const double row = (double)(box->low[1] + y) + row_offsets[i];
                const ptrdiff_t up = (ptrdiff_t)floor(row) - box->low[1] - y;
                const ptrdiff_t below = (ptrdiff_t)(ceil(row) - floor(row));
                if (up < -margin || up + below > margin) {
                    status = -2;
                    break;
                }
                const double *top = centre + up * padded + to_left[i];
                if (!below && !to_right[i])
                    compare_voxel(centre, top, width, i, codes);
                else
                    compare(centre, top, top + below * padded, to_right[i], row - floor(row), across + i * width, width,
                            i, codes);
            }
            for (ptrdiff_t x = 0; x < width; x++)
                if (mask[x]) *out++ = patterns[codes[x]];
        }
    }
    free(plane), free(codes);
    return status;
}
