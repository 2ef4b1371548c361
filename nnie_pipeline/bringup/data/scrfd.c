
/* SCRFD: anchors at the corners of cells, boxes as distances in strides. */
static int nnie_candidates(const nnie_blob_t *outputs, nnie_list_t *list)
{
    for (int level = 0; level < NNIE_LEVELS; level++)
        for (int cell = 0; cell < nnie_rows[level] * nnie_columns[level]; cell++)
            for (int anchor = 0; anchor < nnie_anchors[level]; anchor++) {
                double score = nnie_part(outputs, &nnie_score, level, cell, anchor, 0);
                const double stride = nnie_stride[level];
                const double x = cell % nnie_columns[level] * stride;
                const double y = cell / nnie_columns[level] * stride;
                nnie_detection_t found;
                double box[4];
                if (NNIE_LOGITS)
                    score = nnie_sigmoid(score);
                if (!(score > NNIE_SCORE))
                    continue;
                memset(&found, 0, sizeof found);
                nnie_read_box(outputs, level, cell, anchor, box);
                found.x1 = x - box[0] * stride;
                found.y1 = y - box[1] * stride;
                found.x2 = x + box[2] * stride;
                found.y2 = y + box[3] * stride;
                found.score = score;
#if NNIE_LANDMARKS > 0
                nnie_place_landmarks(outputs, level, cell, anchor, x, y, stride, &found);
#endif
                if (nnie_add(list, &found))
                    return -1;
            }
    return 0;
}
