static void nnie_print(const nnie_blob_t *outputs)
{
    const int count = nnie_decode(outputs, NULL, 0);
    nnie_detection_t *found =
        (nnie_detection_t *)malloc((size_t)(count > 0 ? count : 1) * sizeof *found);
    if (count < 0 || !found) {
        fprintf(stderr, "nnie_decode: not enough memory\n");
        exit(2);
    }
    nnie_decode(outputs, found, count);
    for (int i = 0; i < count; i++) {
        printf("%.6f %d %.4f %.4f %.4f %.4f", found[i].score, found[i].class_number, found[i].x1,
               found[i].y1, found[i].x2, found[i].y2);
        for (int k = 0; k < NNIE_LANDMARKS; k++)
            printf(" %.4f %.4f", found[i].landmarks[k][0], found[i].landmarks[k][1]);
        printf("\n");
    }
    free(found);
}
