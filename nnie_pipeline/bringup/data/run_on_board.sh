#!/bin/sh
# Run every input of the kit through the sample program of HiSilicon's SDK, on the board.
#
#     sh run_on_board.sh SAMPLE MODEL.wk [INDEX]
#
# SAMPLE is the SDK's program sample_nnie_main. Its Segnet sample loads any network of one U8
# input from ./data, runs it and writes every output node. INDEX is the sample's number for
# Segnet; without it the sample's own list is asked. Results: pulled/PICTURE/seg*_layer*.hex.
set -u
if [ $# -lt 2 ]; then
    echo "usage: sh run_on_board.sh SAMPLE MODEL.wk [INDEX]" >&2
    exit 2
fi
kit=$(cd "$(dirname "$0")" && pwd)
sample=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
model=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
for file in "$sample" "$model"; do
    if [ ! -f "$file" ]; then
        echo "run_on_board: $file is not there" >&2
        exit 2
    fi
done
index=${3:-$("$sample" 2>&1 </dev/null | sed -n 's/^[^0-9a-z]*\([0-9a-z]*\)) *Segnet.*/\1/p' | head -n 1)}
if [ -z "$index" ]; then
    echo "run_on_board: $sample lists no Segnet sample; give its number as the third word" >&2
    exit 2
fi
# A link, or a copy where the file system has none.
place() {
    ln -s "$1" "$2" 2>/dev/null || cp "$1" "$2"
}

failed=0
for input in "$kit"/inputs/*; do
    name=$(basename "$input")
    name=${name%.*}
    out=$kit/pulled/$name
    rm -rf "$out"
    mkdir -p "$out/data/nnie_image/rgb_planar" "$out/data/nnie_model/segmentation"
    place "$input" "$out/data/nnie_image/rgb_planar/segnet_image_224x224.bgr"
    place "$model" "$out/data/nnie_model/segmentation/inst_segnet_cycle.wk"
    (cd "$out" && "$sample" "$index" </dev/null >sample.log 2>&1)
    rm -rf "$out/data"
    count=$(ls "$out" | grep -c '^seg.*\.hex$')
    if [ "$count" -eq 0 ]; then
        echo "run_on_board: $name: the sample wrote no output; see pulled/$name/sample.log" >&2
        failed=1
    else
        echo "$name: $count outputs in pulled/$name"
    fi
done
exit $failed
