# ruff: noqa: E501, E741, W291
"""cfg files of nnie_mapper as published, to prove that anybody's can be read.

a to e: HiSVP development guide and OpenHarmony's taurus sample (figures); f: hanson-young on
MobileFaceNet; g: a public tool chain's document; h: MindSpore Lite's NNIE guide; i:
nniefacelib issue 29; j: yolov5_caffe2wk; k1, k2: rinetd/nnie_mapper; l: NNIE-lite; m: an
article on TextBoxes++; n: written as the script of ml-inory writes it.
"""

A = """\
[prototxt_file]  ./data/classification/alexnet/model/bvlc_alexnet_no_group_deploy.prototxt
[caffemodel_file] ./data/classification/alexnet/model/bvlc_alexnet_no_group.caffemodel
[batch_num] 256
[net_type] 0
[sparse_rate] 0
[compile_mode] 0
[is_simulation] 1
[log_level] 2
[instruction_name] ./data/classification/alexnet/inst/alexnet_no_group_func
[image_list] ./data/classification/imagenet/image_ref_list.txt
[image_type] 1
[mean_file] ./data/classification/alexnet/model/imagenet_mean.binaryproto
[norm_type] 1
[RGB_order] BGR
[data_scale] 0.003906
[internal_stride] 16
"""

B = """\
[prototxt_file]  ./data/classification/alexnet/model/bvlc_alexnet_deploy.prototxt
[caffemodel_file] ./data/classification/alexnet/model/bvlc_alexnet.caffemodel
[batch_num] 128
[net_type] 0
[sparse_rate] 0
[compile_mode] 0
[is_simulation] 1
[log_level] 3
[instruction_name] ./data/classification/alexnet/inst/alexnet_func
[RGB_order] BGR
[data_scale] 0.0039062
[internal_stride] 16
[image_list] ./data/classification/imagenet/image_ref_list.txt
[image_type] 1
[mean_file] ./data/classification/alexnet/model/imagenet_mean.binaryproto
[norm_type] 1
"""

C = """\
[prototxt_file] 
[caffemodel_file] 
[net_type] 
[log_level] 0
[batch_num] 256
[compile_mode] 0
[internal_stride] 16
[sparse_rate] 0
[is_simulation] 0
[instruction_name] 
[norm_type] 
[mean_file] null
[image_type] 
[image_list] 
"""

D = """\
[prototxt_file] ./sigle_custom_multi_top_2.prototxt
[caffemodel_file] ./sigle_custom_multi_top_2.caffemodel
[net_type] 0
[batch_num] 1
[norm_type] 3
[mean_file] ignore
[image_type] 1
[image_list] ./images
[norm_type] 3
[mean_file] ignore
[image_type] 0
[image_list] ./sigle_custom_multi_top_2_custom_1_1
[norm_type] 3
[mean_file] ignore
[image_type] 0
[image_list] ./sigle_custom_multi_top_2_custom_1_2
"""

E = """\
[prototxt_file] ./../data/segmentation/segnet/model/segnet_basic_batchnorm_scale_inference.prototxt
[caffemodel_file] ./../data/segmentation/segnet/model/segnet_basic_batchnorm_scale_quant_iter_10000.caffemodel
[batch_num] 1
[net_type] 0
[sparse_rate] 0
[compile_mode] 0
[is_simulation] 0
[log_level] 2
[instruction_name] ./../data/segmentation/segnet/inst/segnet_inst
[RGB_order] BGR
[data_scale] 0.0039062
[internal_stride] 16
[image_list] ./../data/classification/imagenet/image_ref_list.txt
[image_type] 1
[mean_file] null
[norm_type] 0
"""

F = """\
[prototxt_file] ./mark_prototxt/mobilefacenet_mark_nnie_20190723102335.prototxt
[caffemodel_file] ./data/face/mobilefacenet.caffemodel
[batch_num] 256
[net_type] 0
[sparse_rate] 0
[compile_mode] 0
[is_simulation] 0
[log_level] 3
[instruction_name] ./data/face/mobilefacenet_inst
[RGB_order] RGB
[data_scale] 0.0078125
[internal_stride] 16
[image_list] ./data/face/images/imageList20190723102419.txt
[image_type] 1
[mean_file] ./data/face/pixel_mean.txt
[norm_type] 5
"""

G = """\
[prototxt_file] 
[caffemodel_file] 
[net_type] 0
[batch_num] 0
[image_list] 
[image_type] 1
[norm_type] 2
[mean_file] /home/xx/projects/NNIEToolKit/ntk/config_file/minus128.txt
[image_list] 
[image_type] 1
[norm_type] 2
[mean_file] /home/xx/projects/NNIEToolKit/ntk/config_file/minus128.txt
[image_list] 
[image_type] 1
[norm_type] 2
[mean_file] /home/xx/projects/NNIEToolKit/ntk/config_file/minus128.txt
[compress_mode] 1
[compile_mode] 2
[log_level] 3
"""

H = """\
[net_type] 0
[image_list] ./input_nchw.txt
[image_type] 0
[norm_type] 0
[mean_file] null
"""

I = """\
[prototxt_file] ./../data/det_face/mnet.prototxt
[caffemodel_file] ./../data/det_face/mnet.caffemodel
[batch_num] 256
[net_type] 0
[sparse_rate] 0
[compile_mode] 0
[is_simulation] 0
[log_level] 3
[instruction_name] ./../data/det_face/retinaface_inst
[RGB_order] BGR
[data_scale] 0.0039062
[internal_stride] 16
[image_list] ./../data/det_face/imageList.txt
[image_type] 3
[mean_file] null
[norm_type] 0
"""

J = """\
[prototxt_file] ./meta/model.prototxt
[caffemodel_file] ./meta/model.caffemodel
[net_type] 0
[log_level] 0
[batch_num] 1
[compile_mode] 1 #0：int8 1:int16
[internal_stride] 16
[sparse_rate] 0
[is_simulation] 0
[instruction_name] model_608x608x3_int16
[data_scale] 0.0039215686
[image_list] ./meta/image_list.txt
[image_type] 1
[mean_file] null
[norm_type] 3
"""

K1 = """\
[prototxt_file]  ./yolov3.prototxt
[caffemodel_file] ./yolov3.caffemodel
[batch_num] 1
[net_type] 0
[sparse_rate] 0
[compile_mode] 1
[is_simulation] 0
[log_level] 2
[instruction_name] ./data/yolov3_inst
[image_list] ./file_list.txt
[image_type] 1
[RGB_order] BGR 
[internal_stride] 16

[norm_type] 3
[data_scale] 0.0039062
[mean_file] ./mean.txt
"""

K2 = """\
[prototxt_file] ./mark_prototxt/yolov3_mark_nnie_20191210173440.prototxt
[caffemodel_file] ./../data/detection/yolov3/model/yolov3.caffemodel
[batch_num] 1
[net_type] 0
[sparse_rate] 0
[compile_mode] 0
[is_simulation] 1          # func 功能仿真
[log_level] 2
[instruction_name] ./../data/detection/yolov3/inst/inst_yolov3_func
[RGB_order] BGR
[data_scale] 0.0039062
[internal_stride] 16
[image_list] ./../data/detection/yolov3/image_ref_list.txt
[image_type] 1
[mean_file] null
[norm_type] 3
"""

L = """\
[prototxt_file]  ./caffe_model/bn_conv_merged_model.prototxt
[caffemodel_file] ./caffe_model/bn_conv_merged_weights.caffemodel
[batch_num] 1
[net_type] 0
[sparse_rate] 0
[compile_mode] 1
[is_simulation] 0
[log_level] 2
[instruction_name] ./nnie_model/ENet_cityscapes
[image_list] ./image_ref_list.txt
[image_type] 1
[mean_file] ./mean.txt
[norm_type] 5
[RGB_order] BGR
[data_scale] 1
[internal_stride] 16
"""

M = """\
[prototxt_file]  ./lenet.prototxt
[caffemodel_file] ./lenet_iter_10000.caffemodel
[batch_num] 0
[net_type] 0
[sparse_rate] 0
[compile_mode] 1
[is_simulation] 0
[log_level] 2
[instruction_name] ./lenet
[RGB_order] BGR
[data_scale] 0.0039062
[internal_stride] 16
[image_list] ./image_ref_list.txt
[image_type] 1
[mean_file] ./lenetmean.txt
[norm_type] 2
"""

N = """\
[prototxt_file] ./model.prototxt
[caffemodel_file] ./model.caffemodel
[net_type] 0
[image_list] ./imageList.txt
[image_type] 1
[instruction_name] ./model
[norm_type] 5
[data_scale] 0.0078125
[mean_file] ./mean.txt
[compile_mode] 0
[RGB_order] RGB
"""

# Name: the text, its options, its inputs, and a few values a reader of the text sees.
CFGS: dict[str, tuple[str, int, int, dict[str, str | None]]] = {
    "a": (A, 16, 1, {"batch_num": "256", "is_simulation": "1", "norm_type": "1"}),
    "b": (B, 16, 1, {"batch_num": "128", "log_level": "3", "data_scale": "0.0039062"}),
    "c": (
        C,
        14,
        1,
        {"prototxt_file": "", "mean_file": "null", "image_list": "", "RGB_order": None},
    ),
    "d": (D, 16, 3, {"batch_num": "1", "image_list": "./sigle_custom_multi_top_2_custom_1_2"}),
    "e": (E, 16, 1, {"norm_type": "0", "mean_file": "null"}),
    "f": (F, 16, 1, {"RGB_order": "RGB", "data_scale": "0.0078125", "norm_type": "5"}),
    "g": (G, 19, 3, {"compile_mode": "2", "compress_mode": "1", "image_list": ""}),
    "h": (H, 5, 1, {"image_type": "0", "prototxt_file": None}),
    "i": (I, 16, 1, {"image_type": "3"}),
    "j": (J, 15, 1, {"compile_mode": "1", "instruction_name": "model_608x608x3_int16"}),
    "k1": (K1, 16, 1, {"RGB_order": "BGR", "mean_file": "./mean.txt"}),
    "k2": (K2, 16, 1, {"is_simulation": "1", "norm_type": "3"}),
    "l": (L, 16, 1, {"data_scale": "1", "norm_type": "5"}),
    "m": (M, 16, 1, {"batch_num": "0", "norm_type": "2"}),
    "n": (N, 11, 1, {"RGB_order": "RGB", "batch_num": None}),
}
