
#ifdef NNIE_HOST
/* nnie_decode FILE...: the outputs as the SDK's sample writes them, in the order of nnie_nodes. */

static int32_t *nnie_read(const char *path, int count)
{
    FILE *file = fopen(path, "r");
    int32_t *words = malloc((size_t)count * sizeof *words);
    int done = 0;
    char rest;
    if (!file || !words) {
        fprintf(stderr, "nnie_decode: cannot read %s\n", path);
        exit(2);
    }
    for (uint32_t word; done < count && fscanf(file, "%8" SCNx32, &word) == 1; done++)
        words[done] = (int32_t)word;
    if (done < count || fscanf(file, " %c", &rest) == 1) {
        fprintf(stderr, "nnie_decode: %s does not hold %d words of 8 hexadecimal digits\n", path,
                count);
        exit(2);
    }
    fclose(file);
    return words;
}

