
int main(int argc, char **argv)
{
    nnie_blob_t outputs[NNIE_OUTPUTS];
    int32_t *words[NNIE_OUTPUTS];
    if (argc != NNIE_OUTPUTS + 1) {
        fprintf(stderr, "usage: nnie_decode FILE...: %d files, in the order of nnie_nodes\n",
                NNIE_OUTPUTS);
        return 2;
    }
    for (int i = 0; i < NNIE_OUTPUTS; i++) {
        words[i] = nnie_read(argv[i + 1], nnie_nodes[i].count);
        outputs[i].words = words[i];
        outputs[i].stride = 0;
    }
    nnie_print(outputs);
    for (int i = 0; i < NNIE_OUTPUTS; i++)
        free(words[i]);
    return 0;
}
#endif
