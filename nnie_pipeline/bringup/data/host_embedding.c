static void nnie_print(const nnie_blob_t *outputs)
{
    double vector[NNIE_EMBEDDING];
    nnie_embed(outputs, vector);
    for (int i = 0; i < NNIE_EMBEDDING; i++)
        printf("%.9f\n", vector[i]);
}
