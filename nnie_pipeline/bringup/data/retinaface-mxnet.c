
/* RetinaFace of MXNet: anchors at stride * cell + 7.5, boxes without variances, corners that count
   as pixels; class channels class by class. */
static int nnie_candidates(const nnie_blob_t *outputs, nnie_list_t *list)
{
    for (int level = 0; level < NNIE_LEVELS; level++) {
        const int cells = nnie_rows[level] * nnie_columns[level];
        for (int cell = 0; cell < cells; cell++)
            for (int anchor = 0; anchor < nnie_anchors[level]; anchor++) {
                const int node = nnie_class.node[level];
                const long channel = (long)nnie_anchors[level] + anchor;
                double score = nnie_value(outputs, node, channel * cells + cell);
                const double side = nnie_sides[level][anchor];
                const double x = (double)(cell % nnie_columns[level]) * nnie_stride[level] + 7.5;
                const double y = (double)(cell / nnie_columns[level]) * nnie_stride[level] + 7.5;
                nnie_detection_t found;
                double box[4];
                if (NNIE_LOGITS)
                    score = nnie_sigmoid(score -
                                         nnie_value(outputs, node, (long)anchor * cells + cell));
                if (!(score > NNIE_SCORE))
                    continue;
                memset(&found, 0, sizeof found);
                nnie_read_box(outputs, level, cell, anchor, box);
                const double right = (side * exp(box[2]) - 1) / 2;
                const double low = (side * exp(box[3]) - 1) / 2;
                found.x1 = x + side * box[0] - right;
                found.y1 = y + side * box[1] - low;
                found.x2 = x + side * box[0] + right;
                found.y2 = y + side * box[1] + low;
                found.score = score;
                nnie_place_landmarks(outputs, level, cell, anchor, x, y, side, &found);
                if (nnie_add(list, &found))
                    return -1;
            }
    }
    return 0;
}
