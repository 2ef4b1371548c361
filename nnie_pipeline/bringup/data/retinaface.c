
/* RetinaFace: anchors at the centres of cells, boxes as SSD has them, two classes, landmarks. */
static int nnie_candidates(const nnie_blob_t *outputs, nnie_list_t *list)
{
    for (int level = 0; level < NNIE_LEVELS; level++)
        for (int cell = 0; cell < nnie_rows[level] * nnie_columns[level]; cell++)
            for (int anchor = 0; anchor < nnie_anchors[level]; anchor++) {
                const double face = nnie_part(outputs, &nnie_class, level, cell, anchor, 1);
                const double none = nnie_part(outputs, &nnie_class, level, cell, anchor, 0);
                const double score = nnie_sigmoid(face - none);
                const double side = nnie_sides[level][anchor];
                const double x = (cell % nnie_columns[level] + 0.5) * nnie_stride[level];
                const double y = (cell / nnie_columns[level] + 0.5) * nnie_stride[level];
                const double near = NNIE_VARIANCE_CENTRE * side;
                nnie_detection_t found;
                double box[4];
                if (!(score > NNIE_SCORE))
                    continue;
                memset(&found, 0, sizeof found);
                nnie_read_box(outputs, level, cell, anchor, box);
                const double width = side * exp(NNIE_VARIANCE_SIDE * box[2]);
                const double height = side * exp(NNIE_VARIANCE_SIDE * box[3]);
                found.x1 = x + near * box[0] - width / 2;
                found.y1 = y + near * box[1] - height / 2;
                found.x2 = x + near * box[0] + width / 2;
                found.y2 = y + near * box[1] + height / 2;
                found.score = score;
                nnie_place_landmarks(outputs, level, cell, anchor, x, y, near, &found);
                if (nnie_add(list, &found))
                    return -1;
            }
    return 0;
}
