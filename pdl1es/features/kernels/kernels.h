/* What the kernels have in common: the extents that they work on and how they are compiled.
 *
 * Every kernel gives the bits of the numpy path (pdl1es/features), whatever vector registers the processor has: sums run
 * in a fixed order, nothing is contracted to fused multiply-adds (-ffp-contract=off, see setup.py), and lanes of a
 * register never meet. The callers (module.c) have checked every size; no kernel allocates in a loop.
 */
#ifndef PDL1ES_KERNELS_H
#define PDL1ES_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __FAST_MATH__
#error "the kernels need IEEE arithmetic: compile without -ffast-math"
#endif

/* One function for each width of vector registers, chosen when the module is loaded; the bits do not depend on it. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && !defined(PDL1ES_ONE_WIDTH)
#define FOR_EACH_WIDTH __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_WIDTH
#endif

static inline ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t larger(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

/* A box in an array: from low (included) to high (excluded) along z, y, x. */
typedef struct {
    ptrdiff_t low[3], high[3];
} box_t;

/* The filters read a crop of int16 HU and give the tumour's voxels: those of the box that the mask (of the box's shape)
 * has, in its order. They return 0, or -1 where memory lacks. */
int laplacian_of_gaussian(const int16_t *hu, const ptrdiff_t shape[3], double sigma, const box_t *box,
                          const uint8_t *mask, float *out);
int wavelet(const int16_t *hu, const ptrdiff_t shape[3], const double *lo, const double *hi, int taps, const box_t *box,
            const uint8_t *mask, double *out, ptrdiff_t voxels);
int gradient(const int16_t *hu, const ptrdiff_t shape[3], const box_t *box, const uint8_t *mask, float *out);
int local_binary_pattern(const int16_t *hu, const ptrdiff_t shape[3], const double *row_offsets,
                         const double *column_offsets, int samples, ptrdiff_t margin, const box_t *box,
                         const uint8_t *mask, int16_t *out);

/* grey_levels.c: kind is 'h' (int16), 'f' or 'd' */
ptrdiff_t discretise(const void *values, char kind, ptrdiff_t voxels, const double *edges, ptrdiff_t n, int32_t *ranks,
                     int64_t *counts, int32_t *ranks_of_bins);

/* moments.c: kind as above */
void moments(const void *values, char kind, ptrdiff_t n, double low, double high, double sums[8]);

/* The line on which the tumour lies: the voxels' places, ascending, and the places to the neighbour in each direction. */
typedef struct {
    const int32_t *places;
    const int64_t *steps;
    ptrdiff_t voxels, directions, length;
} texture_line_t;

/* What is counted, in arrays of zeros but the zones': (directions, n, n), the same by sum and by difference of the levels
 * (2 range + 1, directions) and (range + 1, directions), (n, 4 directions + 1), (n, longest, directions), (n,); the zones'
 * ranks and sizes, one place for each voxel. `longest` goes in as the second axis, comes out as found. */
typedef struct {
    double *cooccurrences, *sums, *level_differences, *dependences, *runs, *differences;
    int32_t *zone_ranks, *zone_sizes;
    ptrdiff_t longest, zones;
} texture_matrices_t;

/* matrices.c: whether places ascend from 0 to below length; whether ranks are from 1 to levels */
int places_ascend(const int32_t *places, ptrdiff_t n, ptrdiff_t length);
int ranks_have_levels(const int32_t *ranks, ptrdiff_t n, int32_t levels);
/* 0, -1 where memory lacks, -2 where a run is longer than its axis */
int texture_matrices(const int32_t *ranks, const texture_line_t *line, const int64_t *levels, ptrdiff_t n,
                     texture_matrices_t *out);

/* shape.c: of a mask of 0 and 1 with an empty layer all around; 0, or -1 where memory lacks. The squares are those of the
 * largest distances in slice, row and column planes and in space, in halves of a voxel. */
int count_cubes(const uint8_t *mask, const ptrdiff_t shape[3], int64_t counts[256], int64_t positions[3][256]);
int largest_squares(const uint8_t *mask, const ptrdiff_t shape[3], int32_t squares[4]);
/* The voxels' number, their z, y and x added up, and zz, zy, zx, yy, yx and xx. */
void coordinate_sums(const uint8_t *mask, const ptrdiff_t shape[3], int64_t sums[10]);

#endif
