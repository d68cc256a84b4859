# Own data in COCO's format, trained from random weights on a CPU: cell nuclei of BBBC038v1 (CC0),
# 256 x 256 pixels, one class. Copy this file for yours.
_base_ = '../_base_/mask-rcnn_convnext-atto_cpu.py'

own_data = dict(
    root='data/nuclei',
    classes=['nucleus'],
    train=dict(images='train', annotations='annotations/instances_train.json'),
    val=dict(images='val', annotations='annotations/instances_val.json'),
)

# Nuclei are 9 to 25 pixels wide: half of the usual anchors (8 times the stride), and more of them
# in an image than COCO's 100 detections.
model = dict(
    rpn_head=dict(anchor_generator=dict(scales=[4])),
    test_cfg=dict(rcnn=dict(max_per_img=200)),
)

# Other classes and data reach every place that needs them; nothing may stand below this line.
__import__('mmconvnext').use_own_data(locals())
