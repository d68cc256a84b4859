# The data of `make demo`: 440 toy images of 192 x 192 pixels, four classes, in 5 epochs.
_base_ = '../_base_/mask-rcnn_convnext-atto_cpu.py'

own_data = dict(
    root='data/toy/coco',
    classes=['disc', 'square', 'triangle', 'star'],
    palette=[(220, 60, 50), (50, 120, 220), (60, 180, 75), (245, 190, 40)],
    train=dict(images='train2017', annotations='annotations/instances_train2017.json'),
    val=dict(images='val2017', annotations='annotations/instances_val2017.json'),
)
