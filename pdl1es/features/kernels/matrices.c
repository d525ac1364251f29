/* The five texture matrices of one image, in one walk over the tumour's voxels.
 *
 * Source: the definitions of pyradiomics 3.0.1 (glcm, gldm, glrlm, glszm and ngtdm; cmatrices.c, BSD-3), which are IBSI's
 * LFYI, REK0, TP0I, 9SAK and IPET. The tumour lies on a line (pdl1es/features/region.py): a neighbour is a fixed number of
 * places away, and a place that is not of the tumour has rank 0. Zones are joined as in K. Wu, E. Otoo and K. Suzuki,
 * "Optimizing two-pass connected-component labeling algorithms" (2009): a root is the first label of its zone.
 *
 * The walk goes by stretches of places: what compares neighbours runs on registers (look_around), what counts runs voxel
 * by voxel (count). Differences from the neighbours' mean (NGTDM) are added up in the order of the voxels, as pyradiomics
 * adds them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

#define MOST_DIRECTIONS 13
/* Places of a stretch, and what registers reach beyond its end. */
#define STRETCH 256
#define SLACK 16

/* What is found of each place of a stretch. */
typedef struct {
    int32_t equal[STRETCH + SLACK];      /* neighbours of the same rank */
    int32_t neighbours[STRETCH + SLACK]; /* neighbours within the tumour */
    int32_t total[STRETCH + SLACK];      /* of their levels */
    int32_t same[STRETCH + SLACK];       /* bit d: the neighbour before it along direction d has the same rank */
    /* For each direction the cell to count in, in the row of the voxel's rank: of the pair with the next place, and of the
     * run that ends here (of length 0 where it goes on). */
    int32_t pair[MOST_DIRECTIONS][STRETCH + SLACK], run[MOST_DIRECTIONS][STRETCH + SLACK];
    double difference[STRETCH + SLACK];  /* of the level from the neighbours' mean */
} stretch_t;

/* What the walk works with. A window of places moves along the line: `room` of them from `first` on. */
typedef struct {
    ptrdiff_t room, first, filled; /* filled: how many voxels have been written into the window */
    int32_t *window;       /* all of it, in rows of `room` */
    int32_t *ranks;        /* 0 where no voxel is */
    int32_t *levels;       /* 0 where no voxel is; the ranks where levels are ranks */
    int32_t *labels;       /* of the zones */
    int32_t *latest_runs;  /* (directions, room): length of the run up to each place */
    int32_t *level_of;     /* by rank; NULL where levels are ranks */
    int32_t *parent, *sizes, *label_ranks; /* by label */
    int32_t *pairs;        /* (n + 1, n + 1, directions) */
    int32_t *runs;         /* (n, lengths, directions): lengths from 0 */
    ptrdiff_t lengths;
    int32_t *dependences;  /* (n, 4 directions + 1) */
    int32_t found; /* labels */
    stretch_t stretch;
} workspace_t;

/* Add what direction d tells of a stretch of n places, a multiple of SLACK; return the longest run that ends. */
FOR_EACH_WIDTH
static int32_t look_around(const int32_t *restrict own, const int32_t *restrict levels, ptrdiff_t step, ptrdiff_t n,
                           int32_t d, int32_t directions, int32_t *runs, int32_t *restrict pair_cells,
                           int32_t *restrict run_cells, int32_t *restrict equal, int32_t *restrict neighbours,
                           int32_t *restrict total, int32_t *restrict same)
{
    const int32_t *restrict next = own + step, *restrict before = own - step;
    const int32_t *restrict next_level = levels + step, *restrict level_before = levels - step;
    int32_t longest = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        equal[i] += (next[i] == own[i]) + (before[i] == own[i]);
        neighbours[i] += (next[i] != 0) + (before[i] != 0);
        total[i] += next_level[i] + level_before[i];
        same[i] |= (before[i] == own[i]) << d;
        pair_cells[i] = next[i] * directions + d;
    }
    if (step == 1) {
        int32_t run = runs[-1];
        for (ptrdiff_t i = 0; i < n; i++) runs[i] = run = (run & -(same[i] >> d & 1)) + 1; /* no branch to mispredict */
    } else {
        const int32_t *earlier = runs - step;
        /* A stretch is no longer than a step, and what lies beyond the stretch is written again. */
#pragma GCC ivdep
        for (ptrdiff_t i = 0; i < n; i++) runs[i] = before[i] == own[i] ? earlier[i] + 1 : 1;
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        const int32_t run = next[i] != own[i] && own[i] != 0 ? runs[i] : 0;
        run_cells[i] = run * directions + d;
        longest = run > longest ? run : longest;
    }
    return longest;
}

FOR_EACH_WIDTH
static void differ(const int32_t *restrict levels, const int32_t *restrict total, const int32_t *restrict neighbours,
                   ptrdiff_t n, double *restrict difference)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        /* Without neighbours the total is 0, and so is the difference. */
        const double own = neighbours[i] ? levels[i] : 0;
        difference[i] = fabs(own - (double)total[i] / (neighbours[i] ? neighbours[i] : 1));
    }
}

static int32_t root(int32_t *parent, int32_t label)
{
    while (parent[label] != label) {
        parent[label] = parent[parent[label]];
        label = parent[label];
    }
    return label;
}

/* Join the zones of a voxel's earlier neighbours of its rank, given as bits, and return their label. */
static inline __attribute__((always_inline)) int32_t joined(workspace_t *work, const int32_t *labels, int32_t bits,
                                                            const ptrdiff_t *steps)
{
    int32_t zone = labels[-steps[__builtin_ctz((unsigned)bits)]];
    for (bits &= bits - 1; bits; bits &= bits - 1) {
        const int32_t known = labels[-steps[__builtin_ctz((unsigned)bits)]];
        if (known == zone) continue;
        const int32_t one = root(work->parent, zone), other = root(work->parent, known);
        zone = one < other ? one : other;
        work->parent[one] = work->parent[other] = zone;
    }
    return zone;
}

/* Count the voxels of one stretch: it begins at place `begin` of the window, they lie `offsets` places after it. */
static inline __attribute__((always_inline)) void count(const int32_t *offsets, ptrdiff_t voxels, ptrdiff_t begin,
                                                        ptrdiff_t n, const ptrdiff_t directions, const ptrdiff_t *steps,
                                                        const uint8_t *needed, workspace_t *work, double *differences)
{
    const ptrdiff_t width_of_pairs = (n + 1) * directions, width_of_runs = work->lengths * directions;
    const ptrdiff_t width_of_dependences = 4 * directions + 1;
    const stretch_t *const stretch = &work->stretch;
    const int32_t *const ranks = work->ranks + begin;
    int32_t *const labels = work->labels + begin, *const sizes = work->sizes;
    int32_t *const all_pairs = work->pairs, *const all_runs = work->runs, *const all_dependences = work->dependences;
    for (ptrdiff_t k = 0; k < voxels; k++) {
        const ptrdiff_t i = offsets[k], own = ranks[i];
        int32_t *const pairs = all_pairs + own * width_of_pairs;
        int32_t *const runs = all_runs + (own - 1) * width_of_runs;
        for (ptrdiff_t d = 0; d < directions; d++) {
            pairs[(uint32_t)stretch->pair[d][i]]++;
            runs[(uint32_t)stretch->run[d][i]]++;
        }
        all_dependences[(own - 1) * width_of_dependences + stretch->equal[i]]++;
        differences[own - 1] += stretch->difference[i];
        const int32_t same = needed ? needed[stretch->same[i]] : stretch->same[i];
        int32_t label;
        if (same) {
            label = joined(work, labels + i, same, steps);
        } else {
            label = work->found++;
            work->parent[label] = label;
            work->label_ranks[label] = (int32_t)own;
            sizes[label] = 0;
        }
        labels[i] = label;
        sizes[label]++;
    }
}

/* Which joins of four directions in a plane are needed: others are made already. In order of length the steps lead to the
 * voxel at the left, and in the row above to the right, to the middle and to the left; the middle touches all others, the
 * left touches the left above. */
static int plane_joins(const ptrdiff_t *steps, uint8_t needed[16])
{
    int order[4] = {0, 1, 2, 3};
    for (int a = 0; a < 4; a++)
        for (int b = a + 1; b < 4; b++)
            if (steps[order[b]] < steps[order[a]]) {
                const int swapped = order[a];
                order[a] = order[b];
                order[b] = swapped;
            }
    if (steps[order[1]] + steps[order[0]] != steps[order[2]] || steps[order[2]] + steps[order[0]] != steps[order[3]])
        return 0;
    const int left = 1 << order[0], right_above = 1 << order[1], above = 1 << order[2], left_above = 1 << order[3];
    for (int bits = 0; bits < 16; bits++) {
        needed[bits] = (uint8_t)bits;
        if (bits & above)
            needed[bits] = (uint8_t)above;
        else if (bits & left)
            needed[bits] = (uint8_t)(bits & (left | right_above));
        else
            needed[bits] = (uint8_t)(bits & (right_above | left_above));
    }
    return 1;
}

/* Move the window to place `first`, and write the voxels that lie in it. */
static void move(workspace_t *work, const texture_line_t *line, const int32_t *ranks, ptrdiff_t first)
{
    const ptrdiff_t rows = (work->level_of ? 3 : 2) + line->directions;
    const ptrdiff_t moved = first - work->first, known = larger(0, work->room - moved);
    for (ptrdiff_t row = 0; row < rows; row++) {
        int32_t *const window = work->window + row * work->room;
        if (known) memmove(window, window + moved, (size_t)known * sizeof(int32_t));
        memset(window + known, 0, (size_t)(work->room - known) * sizeof(int32_t));
    }
    work->first = first;
    for (; work->filled < line->voxels && line->places[work->filled] < first + work->room; work->filled++) {
        const int32_t rank = ranks[work->filled];
        const ptrdiff_t place = line->places[work->filled] - first;
        work->ranks[place] = rank;
        if (work->level_of) work->levels[place] = work->level_of[rank];
    }
}

FOR_EACH_WIDTH
int places_ascend(const int32_t *places, ptrdiff_t n, ptrdiff_t length)
{
    int wrong = places[0] < 0 || places[n - 1] >= length;
    for (ptrdiff_t k = 1; k < n; k++) wrong |= places[k] <= places[k - 1]; /* no branch, so that registers do it */
    return !wrong;
}

FOR_EACH_WIDTH
int ranks_have_levels(const int32_t *ranks, ptrdiff_t n, int32_t levels)
{
    int wrong = 0;
    for (ptrdiff_t k = 0; k < n; k++) wrong |= (ranks[k] < 1) | (ranks[k] > levels);
    return !wrong;
}

static int walk(const int32_t *ranks, const texture_line_t *line, ptrdiff_t n, ptrdiff_t reach, workspace_t *work,
                texture_matrices_t *out)
{
    const ptrdiff_t directions = line->directions, voxels = line->voxels;
    stretch_t *const stretch = &work->stretch;
    ptrdiff_t steps[MOST_DIRECTIONS], longest_stretch = STRETCH;
    for (ptrdiff_t d = 0; d < directions; d++) {
        steps[d] = line->steps[d];
        if (steps[d] > 1) longest_stretch = smaller(longest_stretch, steps[d]);
    }
    uint8_t table[16];
    const uint8_t *const needed = directions == 4 && plane_joins(steps, table) ? table : NULL;
    int32_t offsets[STRETCH];
    move(work, line, ranks, line->places[0] - reach);
    for (ptrdiff_t k = 0; k < voxels;) {
        const ptrdiff_t first = line->places[k];
        if (first + STRETCH + SLACK + reach > work->first + work->room) move(work, line, ranks, first - reach);
        ptrdiff_t found = 0;
        for (; k + found < voxels && line->places[k + found] < first + longest_stretch; found++)
            offsets[found] = (int32_t)(line->places[k + found] - first);
        const ptrdiff_t wide = (offsets[found - 1] + SLACK) / SLACK * SLACK, begin = first - work->first;
        memset(stretch->equal, 0, (size_t)wide * sizeof(int32_t));
        memset(stretch->neighbours, 0, (size_t)wide * sizeof(int32_t));
        memset(stretch->total, 0, (size_t)wide * sizeof(int32_t));
        memset(stretch->same, 0, (size_t)wide * sizeof(int32_t));
        for (ptrdiff_t d = 0; d < directions; d++) {
            const int32_t longest =
                look_around(work->ranks + begin, work->levels + begin, steps[d], wide, (int32_t)d, (int32_t)directions,
                            work->latest_runs + d * work->room + begin, stretch->pair[d], stretch->run[d],
                            stretch->equal, stretch->neighbours, stretch->total, stretch->same);
            if (longest >= work->lengths) return -2;
        }
        differ(work->levels + begin, stretch->total, stretch->neighbours, wide, stretch->difference);
        /* Four directions are those of a slice; with their number known the compiler unrolls the loop. */
        if (directions == 4)
            count(offsets, found, begin, n, 4, steps, needed, work, out->differences);
        else
            count(offsets, found, begin, n, directions, steps, needed, work, out->differences);
        k += found;
    }
    return 0;
}

/* Give the counts as floating-point numbers. */
static void give(const workspace_t *work, const int64_t *levels, ptrdiff_t n, ptrdiff_t directions,
                 texture_matrices_t *out)
{
    for (ptrdiff_t row = 0; row < n; row++) {
        const int32_t *pairs = work->pairs + ((row + 1) * (n + 1) + 1) * directions;
        for (ptrdiff_t column = 0; column < n; column++, pairs += directions) {
            double *cell = out->cooccurrences + row * n + column;
            double *sum = out->sums + (levels[row] + levels[column] - 2 * levels[0]) * directions;
            double *difference = out->level_differences + llabs(levels[row] - levels[column]) * directions;
            for (ptrdiff_t d = 0; d < directions; d++) {
                cell[d * n * n] = pairs[d];
                sum[d] += pairs[d];
                difference[d] += pairs[d];
            }
        }
    }
    for (ptrdiff_t k = 0; k < n * (4 * directions + 1); k++) out->dependences[k] = work->dependences[k];
    ptrdiff_t most = directions; /* cells of a row up to the longest run that occurs */
    for (ptrdiff_t row = 0; row < n; row++) {
        const int32_t *runs = work->runs + (row * (out->longest + 1) + 1) * directions;
        double *cells = out->runs + row * out->longest * directions;
        for (ptrdiff_t k = 0; k < out->longest * directions; k++) {
            cells[k] = runs[k];
            if (runs[k]) most = larger(most, k + 1);
        }
    }
    out->longest = (most + directions - 1) / directions;

    /* A root comes before its labels. */
    for (int32_t label = 0; label < work->found; label++) {
        const int32_t parent = work->parent[work->parent[label]];
        work->parent[label] = parent;
        if (parent != label) work->sizes[parent] += work->sizes[label];
    }
    out->zones = 0;
    for (int32_t label = 0; label < work->found; label++)
        if (work->parent[label] == label) {
            out->zone_ranks[out->zones] = work->label_ranks[label];
            out->zone_sizes[out->zones++] = work->sizes[label];
        }
}

int texture_matrices(const int32_t *ranks, const texture_line_t *line, const int64_t *levels, ptrdiff_t n,
                     texture_matrices_t *out)
{
    const ptrdiff_t directions = line->directions;
    ptrdiff_t reach = 0;
    int ranks_are_levels = 1;
    for (ptrdiff_t d = 0; d < directions; d++) reach = larger(reach, line->steps[d]);
    for (ptrdiff_t k = 0; k < n; k++) ranks_are_levels &= levels[k] == k + 1;
    const size_t voxels = (size_t)line->voxels, one = sizeof(int32_t);

    workspace_t *work = calloc(1, sizeof(workspace_t));
    if (!work) return -1;
    int status = -1;
    work->lengths = out->longest + 1;
    work->room = 2 * reach + larger(reach, 4096) + STRETCH + SLACK;
    work->first = -(work->room + reach); /* nothing of it is known yet */
    work->window = malloc((size_t)((directions + 3) * work->room) * one);
    work->level_of = ranks_are_levels ? NULL : malloc((size_t)(n + 1) * one);
    work->parent = malloc(voxels * one);
    work->label_ranks = malloc(voxels * one);
    work->sizes = malloc(voxels * one);
    work->pairs = calloc((size_t)((n + 1) * (n + 1) * directions), one);
    work->runs = calloc((size_t)(n * work->lengths * directions), one);
    work->dependences = calloc((size_t)(n * (4 * directions + 1)), one);
    if (!work->window || (!ranks_are_levels && !work->level_of) || !work->parent || !work->label_ranks || !work->sizes
        || !work->pairs || !work->runs || !work->dependences)
        goto end;
    work->latest_runs = work->window;
    work->labels = work->latest_runs + directions * work->room;
    work->ranks = work->labels + work->room;
    work->levels = ranks_are_levels ? work->ranks : work->ranks + work->room;
    for (ptrdiff_t k = 0; k < n && !ranks_are_levels; k++) work->level_of[k + 1] = (int32_t)levels[k];
    status = walk(ranks, line, n, reach, work, out);
    if (status == 0) give(work, levels, n, directions, out);
end:
    free(work->window), free(work->level_of), free(work->parent), free(work->label_ranks), free(work->sizes);
    free(work->pairs), free(work->runs), free(work->dependences), free(work);
    return status;
}
