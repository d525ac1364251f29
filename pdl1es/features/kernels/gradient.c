/* The gradient's magnitude by central differences, as ITK's GradientMagnitudeImageFilter at a spacing of 1.
 *
 * Source: ITK 5.4, itkGradientMagnitudeImageFilter (Apache-2.0): halves of the differences between the neighbours on both
 * sides, beyond the image its last voxel; squares added up in double, which is exact here, then the root, then float.
 */
#include <math.h>
#include <stdlib.h>

#include "kernels.h"

FOR_EACH_WIDTH
static void magnitudes(const int16_t *restrict left, const int16_t *restrict right, const int16_t *restrict up,
                       const int16_t *restrict down, const int16_t *restrict below, const int16_t *restrict above,
                       ptrdiff_t width, float *restrict out)
{
    for (ptrdiff_t x = 0; x < width; x++) {
        const double gx = 0.5 * (right[x] - left[x]), gy = 0.5 * (down[x] - up[x]), gz = 0.5 * (above[x] - below[x]);
        out[x] = (float)sqrt(gx * gx + gy * gy + gz * gz);
    }
}

int gradient(const int16_t *hu, const ptrdiff_t shape[3], const box_t *box, const uint8_t *mask, float *out)
{
    const ptrdiff_t rows = shape[1], columns = shape[2], width = box->high[2] - box->low[2];
    /* The row with one voxel more on each side, and the magnitudes. */
    int16_t *row = malloc(sizeof(int16_t) * (size_t)(width + 2));
    float *magnitude = malloc(sizeof(float) * (size_t)width);
    if (!row || !magnitude) {
        free(row), free(magnitude);
        return -1;
    }
    for (ptrdiff_t z = box->low[0]; z < box->high[0]; z++)
        for (ptrdiff_t y = box->low[1]; y < box->high[1]; y++, mask += width) {
            ptrdiff_t any = 0;
            for (ptrdiff_t x = 0; x < width; x++) any |= mask[x];
            if (!any) continue;
            const int16_t *here = hu + (z * rows + y) * columns;
            for (ptrdiff_t x = 0; x < width + 2; x++)
                row[x] = here[smaller(larger(box->low[2] + x - 1, 0), columns - 1)];
            const ptrdiff_t left = box->low[2];
            const int16_t *up = hu + (z * rows + larger(y - 1, 0)) * columns + left;
            const int16_t *down = hu + (z * rows + smaller(y + 1, rows - 1)) * columns + left;
            const int16_t *below = hu + (larger(z - 1, 0) * rows + y) * columns + left;
            const int16_t *above = hu + (smaller(z + 1, shape[0] - 1) * rows + y) * columns + left;
            magnitudes(row, row + 2, up, down, below, above, width, magnitude);
            for (ptrdiff_t x = 0; x < width; x++)
                if (mask[x]) *out++ = magnitude[x];
        }
    free(row), free(magnitude);
    return 0;
}
