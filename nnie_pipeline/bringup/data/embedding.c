
/* The embedding with length 1; all zeros stay zeros. */
void nnie_embed(const nnie_blob_t *outputs, double *vector);

void nnie_embed(const nnie_blob_t *outputs, double *vector)
{
    double sum = 0;
    for (int i = 0; i < NNIE_EMBEDDING; i++) {
        vector[i] = nnie_value(outputs, 0, i);
        sum += vector[i] * vector[i];
    }
    if (sum > 0)
        for (int i = 0; i < NNIE_EMBEDDING; i++)
            vector[i] /= sqrt(sum);
}

/* How much two embeddings of length 1 are one person's: -1 to 1. */
double nnie_cosine(const double *left, const double *right);

double nnie_cosine(const double *left, const double *right)
{
    double sum = 0;
    for (int i = 0; i < NNIE_EMBEDDING; i++)
        sum += left[i] * right[i];
    return sum;
}
