
#ifdef NNIE_HOST
#include <string.h>

/* nnie_decode FILE...: the outputs as the SDK's sample writes them, in any order. The k-th file of
   a size, by the layer number in its name, is the k-th output of that size. */

typedef struct {
    const char *path;
    long layer;
    int place, count;
    int32_t *words;
} nnie_file_t;

/* The words of a file, at most `room` of them. */
static int32_t *nnie_read(const char *path, int room, int *count)
{
    FILE *file = fopen(path, "r");
    int32_t *words = malloc((size_t)room * sizeof *words);
    char rest;
    *count = 0;
    if (!file || !words) {
        fprintf(stderr, "nnie_decode: cannot read %s\n", path);
        exit(2);
    }
    for (uint32_t word; *count < room && fscanf(file, "%8" SCNx32, &word) == 1; ++*count)
        words[*count] = (int32_t)word;
    if (fscanf(file, " %c", &rest) == 1) {
        fprintf(stderr, "nnie_decode: %s holds more than words of 8 hexadecimal digits\n", path);
        exit(2);
    }
    fclose(file);
    return words;
}

static long nnie_layer(const char *path)
{
    const char *name = strrchr(path, '/');
    const char *number = strstr(name ? name : path, "layer");
    return number ? strtol(number + strlen("layer"), NULL, 10) : -1;
}

static int nnie_by_layer(const void *left, const void *right)
{
    const nnie_file_t *a = left, *b = right;
    if (a->layer != b->layer)
        return a->layer < b->layer ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
}

