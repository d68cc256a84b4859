# Own data in COCO's format, trained from random weights on a CPU: cell nuclei of BBBC038v1 (CC0),
# 256 x 256 pixels, one class. Copy this file for yours.
_base_ = '../_base_/mask-rcnn_convnext-atto_cpu.py'

own_data = dict(
    root='data/nuclei',
    classes=['nucleus'],
    train=dict(images='train', annotations='annotations/instances_train.json'),
    val=dict(images='val', annotations='annotations/instances_val.json'),
)

# Nuclei are 9 to 25 pixels wide, so anchors are half the usual size (8 times the stride), and an
# image has more of them than COCO's 100 detections.
model = dict(
    rpn_head=dict(anchor_generator=dict(scales=[4])),
    test_cfg=dict(rcnn=dict(max_per_img=200)),
)

# Applies own_data to the whole config; this must be the last line.
__import__('mmconvnext').use_own_data(locals())
