/* Grey levels of an image: the bin of each voxel, and its rank among the bins that occur.
 *
 * Source: pyradiomics 3.0.1, imageoperations.binImage, which is numpy.digitize: a voxel's bin is the number of edges that
 * are not above it. The edges are pyradiomics' own (getBinEdges); here one is guessed by a division and then compared.
 */
#include "kernels.h"

#define RANKS(NAME, TYPE)                                                                                               \
    static void NAME(const TYPE *values, ptrdiff_t voxels, const double *edges, ptrdiff_t n, double per_unit,           \
                     int32_t *ranks, int64_t *counts)                                                                   \
    {                                                                                                                   \
        for (ptrdiff_t k = 0; k < voxels; k++) {                                                                        \
            const double value = values[k];                                                                             \
            const double guess = (value - edges[0]) * per_unit + 1;                                                     \
            ptrdiff_t bin = guess >= n ? n : guess <= 0 ? 0 : (ptrdiff_t)guess;                                         \
            while (bin > 0 && value < edges[bin - 1]) bin--;                                                            \
            while (bin < n && value >= edges[bin]) bin++;                                                               \
            ranks[k] = (int32_t)bin;                                                                                    \
            counts[bin]++;                                                                                              \
        }                                                                                                               \
    }

RANKS(ranks_of_int16, int16_t)
RANKS(ranks_of_float, float)
RANKS(ranks_of_double, double)

/* counts holds n + 1 zeros, ranks_of_bins n + 1 places; returns how many bins occur. */
ptrdiff_t discretise(const void *values, char kind, ptrdiff_t voxels, const double *edges, ptrdiff_t n, int32_t *ranks,
                     int64_t *counts, int32_t *ranks_of_bins)
{
    const double width = n > 1 ? edges[1] - edges[0] : 0;
    const double per_unit = width > 0 ? 1 / width : 0;
    if (kind == 'h')
        ranks_of_int16(values, voxels, edges, n, per_unit, ranks, counts);
    else if (kind == 'f')
        ranks_of_float(values, voxels, edges, n, per_unit, ranks, counts);
    else
        ranks_of_double(values, voxels, edges, n, per_unit, ranks, counts);
    ptrdiff_t found = 0;
    for (ptrdiff_t bin = 0; bin <= n; bin++) ranks_of_bins[bin] = (int32_t)(counts[bin] ? ++found : 0);
    for (ptrdiff_t k = 0; k < voxels; k++) ranks[k] = ranks_of_bins[ranks[k]];
    return found;
}
