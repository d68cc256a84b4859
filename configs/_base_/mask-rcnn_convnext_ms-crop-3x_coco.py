# Mask R-CNN with ConvNeXt on COCO: heads, data, multi-scale crop augmentation and 3x schedule are
# those of mmdet's recipe; convnext_coco.py has the changes. Made for 8 GPUs with 2 images each.
# A leaf config sets the size, weights, drop path, learning rate and decay.
_base_ = [
    'mmdet::convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py',
    './convnext_coco.py',
]
locals().update(_base_.pop('changes'))
