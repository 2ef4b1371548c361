
/* In pixels of the network's input; the first pixel covers 0 to 1. */
typedef struct {
    double x1, y1, x2, y2, score;
    int class_number;
    double landmarks[NNIE_LANDMARKS > 0 ? NNIE_LANDMARKS : 1][2];
} nnie_detection_t;

typedef struct {
    nnie_detection_t what;
    int number;
} nnie_candidate_t;

typedef struct {
    nnie_candidate_t *items;
    int count, room;
} nnie_list_t;

static int nnie_add(nnie_list_t *list, const nnie_detection_t *found)
{
    if (!isfinite(found->x1) || !isfinite(found->y1) || !isfinite(found->x2) ||
        !isfinite(found->y2) || !((float)found->score > (float)NNIE_SCORE))
        return 0;
    if (list->count == list->room) {
        int room = list->room ? 2 * list->room : 256;
        nnie_candidate_t *items =
            (nnie_candidate_t *)realloc(list->items, (size_t)room * sizeof *items);
        if (!items)
            return -1;
        list->items = items;
        list->room = room;
    }
    list->items[list->count].what = *found;
    list->items[list->count].number = list->count;
    list->count++;
    return 0;
}

/* Value number v of an anchor of a cell. */
static double nnie_part(const nnie_blob_t *outputs, const nnie_part_t *part, int level, int cell,
                        int anchor, int v)
{
    const long cells = (long)nnie_rows[level] * nnie_columns[level];
    const long channel = (long)anchor * part->values + v;
    if (part->by_anchor[level])
        return nnie_value(outputs, part->node[level],
                          ((long)cell * nnie_anchors[level] + anchor) * part->values + v);
    return nnie_value(outputs, part->node[level], channel * cells + cell);
}

/* The four values of an anchor's box. */
static void nnie_read_box(const nnie_blob_t *outputs, int level, int cell, int anchor, double *box)
{
    for (int v = 0; v < 4; v++)
        box[v] = nnie_part(outputs, &nnie_box, level, cell, anchor, v);
}

#if NNIE_LANDMARKS > 0
/* The landmarks of an anchor at x, y, whose values count in `unit` pixels. */
static void nnie_place_landmarks(const nnie_blob_t *outputs, int level, int cell, int anchor,
                                 double x, double y, double unit, nnie_detection_t *found)
{
    for (int k = 0; k < NNIE_LANDMARKS; k++) {
        found->landmarks[k][0] =
            x + unit * nnie_part(outputs, &nnie_landmark, level, cell, anchor, 2 * k);
        found->landmarks[k][1] =
            y + unit * nnie_part(outputs, &nnie_landmark, level, cell, anchor, 2 * k + 1);
    }
}
#endif

static double nnie_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* Class by class, in a class best first; scores are told apart as floats. */
static int nnie_by_class(const void *left, const void *right)
{
    const nnie_candidate_t *a = (const nnie_candidate_t *)left;
    const nnie_candidate_t *b = (const nnie_candidate_t *)right;
    const float one = (float)a->what.score, other = (float)b->what.score;
    if (a->what.class_number != b->what.class_number)
        return a->what.class_number < b->what.class_number ? -1 : 1;
    if (one != other)
        return one > other ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static int nnie_by_score(const void *left, const void *right)
{
    const nnie_candidate_t *a = (const nnie_candidate_t *)left;
    const nnie_candidate_t *b = (const nnie_candidate_t *)right;
    if (a->what.score != b->what.score)
        return a->what.score > b->what.score ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* Intersection over union of two rectangles as OpenCV's NMSBoxes works it out. */
static float nnie_overlap(const nnie_detection_t *a, const nnie_detection_t *b)
{
    const double a_width = a->x2 - a->x1, a_height = a->y2 - a->y1;
    const double b_width = b->x2 - b->x1, b_height = b->y2 - b->y1;
    const double areas = a_width * a_height + b_width * b_height;
    double shared = 0;
    if (areas <= DBL_EPSILON)
        return 1;
    if (a_width > 0 && a_height > 0 && b_width > 0 && b_height > 0) {
        const double width = a->x1 < b->x1 ? fmin(a_width - (b->x1 - a->x1), b_width)
                                           : fmin(b_width - (a->x1 - b->x1), a_width);
        const double height = a->y1 < b->y1 ? fmin(a_height - (b->y1 - a->y1), b_height)
                                            : fmin(b_height - (a->y1 - b->y1), a_height);
        if (width > 0 && height > 0)
            shared = width * height;
    }
    return 1.f - (float)(1 - shared / (areas - shared));
}

/* Greedy non-maximum suppression within each class; how many stay, best first. */
static int nnie_suppress(nnie_candidate_t *items, int count)
{
    int kept = 0, first = 0;
    if (!count)
        return 0;
    qsort(items, (size_t)count, sizeof *items, nnie_by_class);
    for (int i = 0; i < count; i++) {
        int good = 1;
        if (kept && items[kept - 1].what.class_number != items[i].what.class_number)
            first = kept;
        for (int k = first; good && k < kept; k++)
            good = nnie_overlap(&items[i].what, &items[k].what) <= (float)NNIE_NMS;
        if (good) {
            items[kept] = items[i];
            items[kept].number = kept;
            kept++;
        }
    }
    qsort(items, (size_t)kept, sizeof *items, nnie_by_score);
    return kept;
}

static int nnie_candidates(const nnie_blob_t *outputs, nnie_list_t *list);

/* Writes at most `room` detections, best first, and gives how many there are, -1 without memory. */
int nnie_decode(const nnie_blob_t *outputs, nnie_detection_t *found, int room);

int nnie_decode(const nnie_blob_t *outputs, nnie_detection_t *found, int room)
{
    nnie_list_t list = {NULL, 0, 0};
    int count = -1;
    if (nnie_candidates(outputs, &list) == 0) {
        count = nnie_suppress(list.items, list.count);
        for (int i = 0; i < count && i < room; i++)
            found[i] = list.items[i].what;
    }
    free(list.items);
    return count;
}
