
/* YOLOX: one prediction a cell; its score is objectness times the best class's probability. */
static int nnie_candidates(const nnie_blob_t *outputs, nnie_list_t *list)
{
    for (int level = 0; level < NNIE_LEVELS; level++)
        for (int cell = 0; cell < nnie_rows[level] * nnie_columns[level]; cell++) {
            const double objectness =
                nnie_sigmoid(nnie_part(outputs, &nnie_objectness, level, cell, 0, 0));
            const double stride = nnie_stride[level];
            nnie_detection_t found;
            double best, box[4];
            if (!(objectness > NNIE_SCORE))
                continue;
            memset(&found, 0, sizeof found);
            best = nnie_part(outputs, &nnie_class, level, cell, 0, 0);
            for (int v = 1; v < NNIE_CLASSES; v++) {
                const double value = nnie_part(outputs, &nnie_class, level, cell, 0, v);
                if (value > best) {
                    best = value;
                    found.class_number = v;
                }
            }
            found.score = objectness * nnie_sigmoid(best);
            if (!(found.score > NNIE_SCORE))
                continue;
            nnie_read_box(outputs, level, cell, 0, box);
            const double x = box[0] * stride + cell % nnie_columns[level] * stride;
            const double y = box[1] * stride + cell / nnie_columns[level] * stride;
            const double width = exp(box[2]) * stride, height = exp(box[3]) * stride;
            found.x1 = x - width / 2;
            found.y1 = y - height / 2;
            found.x2 = x + width / 2;
            found.y2 = y + height / 2;
            if (nnie_add(list, &found))
                return -1;
        }
    return 0;
}
