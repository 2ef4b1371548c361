
/* Ultra-Light-Fast: priors that share the picture out evenly, sides clipped to it. */
static int nnie_candidates(const nnie_blob_t *outputs, nnie_list_t *list)
{
    for (int level = 0; level < NNIE_LEVELS; level++)
        for (int cell = 0; cell < nnie_rows[level] * nnie_columns[level]; cell++)
            for (int anchor = 0; anchor < nnie_anchors[level]; anchor++) {
                const double face = nnie_part(outputs, &nnie_class, level, cell, anchor, 1);
                const double none = nnie_part(outputs, &nnie_class, level, cell, anchor, 0);
                const double score = nnie_sigmoid(face - none);
                const int row = cell / nnie_columns[level], column = cell % nnie_columns[level];
                const double x = (column + 0.5) * NNIE_INPUT_WIDTH / nnie_columns[level];
                const double y = (row + 0.5) * NNIE_INPUT_HEIGHT / nnie_rows[level];
                const double width = fmin(nnie_sides[level][anchor], NNIE_INPUT_WIDTH);
                const double height = fmin(nnie_sides[level][anchor], NNIE_INPUT_HEIGHT);
                nnie_detection_t found;
                double box[4];
                if (!(score > NNIE_SCORE))
                    continue;
                memset(&found, 0, sizeof found);
                nnie_read_box(outputs, level, cell, anchor, box);
                const double middle_x = x + NNIE_VARIANCE_CENTRE * width * box[0];
                const double middle_y = y + NNIE_VARIANCE_CENTRE * height * box[1];
                const double half_width = width * exp(NNIE_VARIANCE_SIDE * box[2]) / 2;
                const double half_height = height * exp(NNIE_VARIANCE_SIDE * box[3]) / 2;
                found.x1 = middle_x - half_width;
                found.y1 = middle_y - half_height;
                found.x2 = middle_x + half_width;
                found.y2 = middle_y + half_height;
                found.score = score;
                if (nnie_add(list, &found))
                    return -1;
            }
    return 0;
}
