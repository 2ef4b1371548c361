"""What nnie_mapper and its system print, as published.

SUCCESS: a public tool chain's document (mapper 1.1.2.2); OLD: HiSVP development guide (figure);
the failures: README of Hiwyl/yolov5_caffe2wk, rinetd/nnie_mapper and its issue 1, NNIE-lite issue
10, nniefacelib issue 29, HiSVP development guide 4.6.2, wllkk/yolov5-nnie issues 3 and 11; those of
the system: bash, libstdc++, ld.so and docker on Linux.
"""

SUCCESS = """\
Mapper Version 1.1.2.2_B010_P002 (NNIE_1.1) 1904031504157241
begin net parsing....
end net parsing
begin prev optimizing....
end prev optimizing....
begin net quantalizing(CPU)....
end quantalizing
begin optimizing....
end optimizing
begin NNIE[0] mem allocation....
end NNIE[0] memory allocating
begin NNIE[0] instruction generating....
end NNIE[0] instruction generating
begin parameter compressing....
end parameter compressing
begin compress index generating....
end compress index generating
begin binary code generating....
end binary code generating
begin quant files writing....
end quant files writing
"""
STAGES = [
    "net parsing", "prev optimizing", "net quantalizing(CPU)", "optimizing",
    "NNIE[0] mem allocation", "NNIE[0] instruction generating", "parameter compressing",
    "compress index generating", "binary code generating", "quant files writing",
]  # fmt: skip
SUCCESS_12 = SUCCESS.replace(
    "Mapper Version 1.1.2.2_B010_P002 (NNIE_1.1) 1904031504157241",
    "Mapper Version 1.2.2.0_B010 (NNIE_1.2) 19050917062183",
)
OLD = """\
V100R001C003B0031804271931142216
begin net parsing....
end net parsing
begin POST optimizing....
end POST optimizing
begin lbs binary code generating....
end lbs binary code generating
"""
BEGIN_12 = """\
Mapper Version 1.2.2.0_B010 (NNIE_1.2) 19050917062183
begin net parsing....
"""
ZEROS = """\
WARNING: file: Inference::computeNonlinearQuantizationDelta  line: 92
data containing only zeros; set max value to 1e-6.
"""

# Name: what is printed behind the first stage, and words of the cause and of the fix.
FAILURES: dict[str, tuple[str, str, str]] = {
    "permute-order": (
        "ERROR: file: parsePermutePara  line: 6149\n"
        "layer name: [Transpose_174]. error:Permute can only support (0,1,2,3) -> (0,2,3,1) "
        "order!\n",
        "layer Transpose_174 is a Permute of another order",
        "on the CPU",
    ),
    "reshape-batch": (
        "ERROR: file: parseReshapePara  line: 1\nonly C,H,W can be set, no N\n",
        "sets the first dim, N",
        "dim: 0",
    ),
    "edges": (
        "ERROR: file: _inputEdges  line: 206 Number of edges expected should match the number of "
        "input names.\nERROR: file: setUpDataDelta line: 779 Return = 524309\n",
        "not those that the prototxt names",
        "nnie bisect",
    ),
    "field-bn-param": (
        "[libprotobuf ERROR google/protobuf/text_format.cc:288] Error parsing text-format "
        'caffe.NetParameter: 24:12: Message type "caffe.LayerParameter" has no field named '
        '"bn_param".\n',
        "bn_param is a field of a fork of Caffe",
        "merge BatchNorm",
    ),
    "field-norm-param": (
        'Error parsing text-format caffe.NetParameter: 820:14: Message type "caffe.LayerParameter" '
        'has no field named "norm_param"\n',
        "lacks the extension of SSD's Normalize",
        "extend its caffe.proto",
    ),
    "field": (
        'Error parsing text-format caffe.NetParameter: 33:9: Message type "caffe.LayerParameter" '
        'has no field named "swish_param"\n',
        "has no field swish_param in the mapper's own caffe.proto (line 33 of the prototxt)",
        "take the field out",
    ),
    "protobuf-abi": (
        "./nnie_mapper_12: symbol lookup error: ./nnie_mapper_12: undefined symbol: "
        "_ZN6google8protobuf8internal26fixed_address_empty_stringE\n",
        "another compiler's ABI",
        "protobuf 3.5.1",
    ),
    "library": (
        "./nnie_mapper_12: error while loading shared libraries: libopencv_core.so.3.4: cannot "
        "open shared object file: No such file or directory\n",
        "the library libopencv_core.so.3.4 is not found",
        "LD_LIBRARY_PATH",
    ),
    "cuda": (
        "./nnie_mapper_12: error while loading shared libraries: libcudart.so.8.0: cannot open "
        "shared object file: No such file or directory\n",
        "the mapper for a GPU, which needs CUDA 8.0",
        "the mapper without GPU",
    ),
    "libc": (
        "./nnie_mapper_12: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.27' not found "
        "(required by libfoo.so)\n",
        "GLIBC_2.27",
        "docker/mapper",
    ),
    "memory": (
        "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  "
        "std::bad_alloc\n",
        "memory ran out during net parsing",
        "fewer calibration pictures",
    ),
    "killed": (
        "./run.sh: line 2:  811 Killed                  ./nnie_mapper_12 net.cfg\n",
        "most often the system because memory ran out",
        "docker: also look at the container's limit",
    ),
    "crash": (
        "Segmentation fault (core dumped)\n",
        "the mapper crashed during net parsing",
        "nnie bisect",
    ),
    "aborted": (
        "terminate called after throwing an instance of 'cv::Exception'\n",
        "the mapper gave up during net parsing",
        "nnie cfg --check",
    ),
    "instruction": ("Illegal instruction\n", "this processor lacks", "another machine"),
    "division": ("Floating point exception\n", "divided by zero during net parsing", "nnie check"),
    "asked": ("Terminated\n", "asked the mapper to end during net parsing", "nohup"),
    "full": (
        "./mapper_quant/conv1_output0.hex: No space left on device\n",
        "the disk is full",
        "make room",
    ),
    "daemon": (
        "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the "
        "docker daemon running?.\n",
        "docker run failed before the mapper began",
        "docker info",
    ),
    "image": (
        "docker: Error response from daemon: No such image: nnie-mapper:latest.\n",
        "docker has no such image",
        "docker/mapper",
    ),
    "not-run": (
        "./run.sh: line 2: ./nnie_mapper_12: cannot execute binary file: Exec format error\n",
        "cannot be run on this machine",
        "64-bit Linux on x86",
    ),
    "not-found": ("./run.sh: line 2: nnie_mapper: command not found\n", "not found", "ldd"),
    "other": (
        "ERROR: file: parseFlattenPara  line: 12\nno layer like this\n",
        "not known: the mapper's parseFlattenPara says: no layer like this",
        "nnie bisect",
    ),
    "unknown": (
        "[libprotobuf FATAL google/protobuf/message_lite.cc:68] CHECK failed: (bytes) == (size)\n",
        "not known: CHECK failed: (bytes) == (size)",
        "nnie bisect",
    ),
    "return-524309": (
        "ERROR: file: calculateDelta  line: 12\nReturn = 524309\n",
        "524309 (0x80015)",
        "nnie cfg --check",
    ),
    "parse": (
        "[libprotobuf ERROR google/protobuf/text_format.cc:288] Error parsing text-format "
        "caffe.NetParameter: 24:12: Expected identifier.\n",
        "from line 24, column 12 on: Expected identifier.",
        "nnie check",
    ),
}
BOARD: dict[str, tuple[str, str, str]] = {
    "generation": (
        "arch_version(12) of input model should be 11!\n",
        "made for another NNIE generation (12) than the chip's (11)",
        "nnie_mapper_11",
    ),
    "forward": (
        "Error, HI_MPI_SVP_NNIE_Forward failed!\n", "refuses the network", "nnie wk"
    ),
    "mmz": ("System alloc mmz memory failed\n", "media memory (MMZ) is too small", "MMZ"),
    "code": ("Error,ret = 0xa0338003\n", "NNIE returned an illegal parameter", "API reference"),
}  # fmt: skip
WARNINGS: dict[str, tuple[str, str]] = {
    "other-warning": (
        "WARNING: file: Net::parse  line: 7 the field is left out\n",
        "not known: the mapper's Net::parse says: the field is left out",
    ),
    "zeros": (ZEROS, "a blob is all zero"),
    "small-variance": (
        "WARNING: file: Inference::convBnParamProcess  line: 816\n"
        "layer[mobilenet0_conv5_group_15] value[0.00000000000000004205] is too small\n",
        "variance of mobilenet0_conv5_group_15 is as small as 0.00000000000000004205",
    ),
}
