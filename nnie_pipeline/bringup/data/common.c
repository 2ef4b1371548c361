/* Decoder of the network's outputs: C99 or C++11, no other file than nnie_model.h, libm only.
   Compile it as it is, or include it in one file of your program. On a host: cc -O2 -DNNIE_HOST -o nnie_decode nnie_decoder.c -lm
   Made by nnie bringup; it finds what the head of nnie-pipeline finds. */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nnie_model.h"

/* An output: its words (u64VirAddr of SVP_BLOB_S) and the bytes from one row to the next (its
   u32Stride; 0: rows without padding). Give the outputs in the order of nnie_nodes, and flush the
   cache before. */
typedef struct {
    const int32_t *words;
    unsigned stride;
} nnie_blob_t;

/* The value with this number, counted over channels, rows and columns. */
static double nnie_value(const nnie_blob_t *outputs, int node, long number)
{
    const int width = nnie_nodes[node].width;
    const int32_t *words = outputs[node].words;
    if (outputs[node].stride == 0 || outputs[node].stride == 4u * (unsigned)width)
        return words[number] / NNIE_FACTOR;
    return words[number / width * (long)(outputs[node].stride / 4u) + number % width] / NNIE_FACTOR;
}
