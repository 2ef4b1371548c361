
#ifdef NNIE_HOST

/* nnie_decode FILE...: the outputs as the SDK's sample writes them, in any order. The k-th file of
   a size, by the layer number in its name, is the k-th output of that size. */

typedef struct {
    const char *path;
    long layer;
    int place, count;
    int32_t *words;
} nnie_file_t;

/* The words of a file, at most one more than `room`. */
static int32_t *nnie_read(const char *path, int room, int *count)
{
    FILE *file = fopen(path, "r");
    int32_t *words = (int32_t *)malloc(((size_t)room + 1) * sizeof *words);
    char text[10];
    *count = 0;
    if (!file || !words) {
        fprintf(stderr, "nnie_decode: cannot read %s\n", path);
        exit(2);
    }
    while (*count <= room && fscanf(file, "%9s", text) == 1) {
        if (strlen(text) != 8 || strspn(text, "0123456789abcdefABCDEF") != 8) {
            fprintf(stderr, "nnie_decode: %s holds a word %d that is not 8 hexadecimal digits\n",
                    path, *count + 1);
            fclose(file);
            free(words);
            exit(2);
        }
        words[(*count)++] = (int32_t)strtoul(text, NULL, 16);
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
    const nnie_file_t *a = (const nnie_file_t *)left, *b = (const nnie_file_t *)right;
    if (a->layer != b->layer)
        return a->layer < b->layer ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
}

