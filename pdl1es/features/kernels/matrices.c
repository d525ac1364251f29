/* The five texture matrices of one image, in one walk over the tumour's voxels.
 *
 * Source: the definitions of pyradiomics 3.0.1 (glcm, gldm, glrlm, glszm and ngtdm; cmatrices.c, BSD-3), which are IBSI's
 * LFYI, REK0, TP0I, 9SAK and IPET. The tumour lies on a line (pdl1es/features/region.py): a neighbour is a fixed number of
 * places away, and a place that is not of the tumour has rank 0. Zones are joined as in C. Fiorio and J. Gustedt, "Two
 * linear time Union-Find strategies for image processing" (1996): a root is the first place of its zone.
 *
 * Differences from the neighbours' mean (NGTDM) are added up in the order of the voxels, as pyradiomics adds them.
 */
#include <math.h>
#include <stdlib.h>

#include "kernels.h"

static int32_t root(int32_t *parent, int32_t place)
{
    while (parent[place] != place) {
        parent[place] = parent[parent[place]];
        place = parent[place];
    }
    return place;
}

#define MOST_DIRECTIONS 13

/* What the walk works with. Places have an empty reach on both sides. */
typedef struct {
    int32_t *places;         /* ranks, 0 where no voxel is */
    int32_t *runs, ring;     /* lengths of the runs that end at the latest places, for each direction; ring + 1 places */
    int32_t *parent, *sizes; /* of the zones, by place */
    int32_t *pairs;          /* (n + 1, n + 1, directions) */
    int32_t *level;          /* by rank, 0 for an empty place */
    double unwanted[MOST_DIRECTIONS]; /* where a run is counted that goes on; one each, so that none waits for another */
} workspace_t;

static inline __attribute__((always_inline)) int walk(const int32_t *ranks, const texture_line_t *line, ptrdiff_t n,
                                                      const ptrdiff_t directions, ptrdiff_t reach, workspace_t *work,
                                                      texture_matrices_t *out)
{
    const ptrdiff_t dependences = 4 * directions + 1;
    int32_t *const places = work->places, *const parent = work->parent;
    const int32_t *const level = work->level;
    const int32_t limit = (int32_t)out->longest;
    double *const unwanted = work->unwanted;
    int32_t *const all_runs = work->runs;
    const ptrdiff_t ring = work->ring, voxels = line->voxels;
    const int64_t *const voxel_places = line->places;
    ptrdiff_t steps[MOST_DIRECTIONS];
    for (ptrdiff_t d = 0; d < directions; d++) steps[d] = line->steps[d];
    int32_t longest = 1;
    for (ptrdiff_t k = 0; k < voxels; k++) {
        const ptrdiff_t place = voxel_places[k] + reach;
        const int32_t own = ranks[k];
        int32_t *const pairs = work->pairs + own * (n + 1) * directions;
        int32_t *const runs = all_runs + (place & ring) * directions;
        double *const ends = out->runs + (own - 1) * limit * directions;
        int32_t equal = 0, neighbours = 0, total = 0, zone = (int32_t)place;
        parent[place] = zone;
        for (ptrdiff_t d = 0; d < directions; d++) {
            const ptrdiff_t step = steps[d];
            const int32_t next = places[place + step], before = places[place - step];
            pairs[next * directions + d]++;
            neighbours += (next != 0) + (before != 0);
            total += level[next] + level[before];
            equal += (next == own) + (before == own);
            /* What lies in the ring for another place is not read: the run begins here then. */
            const int32_t earlier = all_runs[((place - step) & ring) * directions + d];
            const int32_t run = before == own ? earlier + 1 : 1;
            runs[d] = run;
            longest = run > longest ? run : longest;
            if (run > limit) return -2;
            double *const end = next != own ? &ends[(run - 1) * directions + d] : &unwanted[d];
            *end += 1;
            if (before == own) {
                const int32_t known = parent[place - step];
                const int32_t other = known == zone ? zone : root(parent, known);
                if (other < zone) {
                    parent[zone] = other;
                    zone = other;
                } else {
                    parent[other] = zone;
                }
            }
        }
        out->dependences[(own - 1) * dependences + equal]++;
        if (neighbours) out->differences[own - 1] += fabs(level[own] - (double)total / neighbours);
    }
    out->longest = longest;
    return 0;
}

int texture_matrices(const int32_t *ranks, const texture_line_t *line, const int64_t *levels, ptrdiff_t n,
                     texture_matrices_t *out)
{
    const ptrdiff_t directions = line->directions;
    ptrdiff_t reach = 0;
    for (ptrdiff_t d = 0; d < directions; d++) reach = larger(reach, line->steps[d]);
    const size_t length = (size_t)(line->length + 2 * reach), one = sizeof(int32_t);
    ptrdiff_t ring = 1;
    while (ring <= reach) ring *= 2;

    workspace_t work = {.ring = (int32_t)(ring - 1)};
    work.places = calloc(length, one);
    work.runs = calloc((size_t)(ring * directions), one);
    work.parent = malloc(length * one);
    work.sizes = calloc(length, one);
    work.pairs = calloc((size_t)((n + 1) * (n + 1) * directions), one);
    work.level = malloc((size_t)(n + 1) * one);
    int status = -1;
    if (!work.places || !work.runs || !work.parent || !work.sizes || !work.pairs || !work.level) goto end;
    work.level[0] = 0;
    for (ptrdiff_t k = 0; k < n; k++) work.level[k + 1] = (int32_t)levels[k];
    for (ptrdiff_t k = 0; k < line->voxels; k++) work.places[line->places[k] + reach] = ranks[k];

    /* Four directions are those of a slice; with their number known the compiler unrolls the loop. */
    status = directions == 4 ? walk(ranks, line, n, 4, reach, &work, out)
                             : walk(ranks, line, n, directions, reach, &work, out);
    if (status < 0) goto end;
    for (ptrdiff_t row = 0; row < n; row++) {
        const int32_t *pairs = work.pairs + ((row + 1) * (n + 1) + 1) * directions;
        double *cells = out->cooccurrences + row * n * directions;
        for (ptrdiff_t k = 0; k < n * directions; k++) cells[k] = pairs[k];
    }

    /* A parent comes before its child, so that the one before it is a root already. */
    for (ptrdiff_t k = 0; k < line->voxels; k++) {
        const ptrdiff_t place = line->places[k] + reach;
        work.parent[place] = work.parent[work.parent[place]];
        work.sizes[work.parent[place]]++;
    }
    out->zones = 0;
    for (ptrdiff_t k = 0; k < line->voxels; k++) {
        const int32_t size = work.sizes[line->places[k] + reach];
        if (size) {
            out->zone_ranks[out->zones] = ranks[k];
            out->zone_sizes[out->zones++] = size;
        }
    }
end:
    free(work.places), free(work.runs), free(work.parent), free(work.sizes), free(work.pairs), free(work.level);
    return status;
}
