
int main(int argc, char **argv)
{
    nnie_blob_t outputs[NNIE_OUTPUTS] = {{NULL, 0}};
    nnie_file_t files[NNIE_OUTPUTS];
    int room = 0;
    if (argc != NNIE_OUTPUTS + 1) {
        fprintf(stderr, "usage: nnie_decode FILE...: the %d output files of one picture\n",
                NNIE_OUTPUTS);
        return 2;
    }
    for (int i = 0; i < NNIE_OUTPUTS; i++)
        if (nnie_nodes[i].count > room)
            room = nnie_nodes[i].count;
    for (int i = 0; i < NNIE_OUTPUTS; i++) {
        files[i].path = argv[i + 1];
        files[i].layer = nnie_layer(argv[i + 1]);
        files[i].place = i;
        files[i].words = nnie_read(argv[i + 1], room, &files[i].count);
    }
    qsort(files, NNIE_OUTPUTS, sizeof *files, nnie_by_layer);
    for (int i = 0; i < NNIE_OUTPUTS; i++) {
        int node = 0;
        while (node < NNIE_OUTPUTS &&
               (outputs[node].words || nnie_nodes[node].count != files[i].count))
            node++;
        if (node == NNIE_OUTPUTS) {
            fprintf(stderr, "nnie_decode: %s holds %d words, which fits no output that is left\n",
                    files[i].path, files[i].count);
            exit(2);
        }
        outputs[node].words = files[i].words;
    }
    nnie_print(outputs);
    for (int i = 0; i < NNIE_OUTPUTS; i++)
        free(files[i].words);
    return 0;
}
#endif
