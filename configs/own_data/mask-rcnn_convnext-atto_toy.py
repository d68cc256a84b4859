# `make demo`: 440 toy images of 192 x 192 pixels; quick by few RoIs and one box regressor.
_base_ = '../_base_/mask-rcnn_convnext-atto_cpu.py'
own_data = dict(
    root='data/toy/coco',
    classes=['disc', 'square', 'triangle', 'star'],
    train=dict(images='train2017', annotations='annotations/instances_train2017.json'),
    val=dict(images='val2017', annotations='annotations/instances_val2017.json'),
)
model = dict(
    roi_head=dict(bbox_head=dict(reg_class_agnostic=True), mask_head=dict(num_convs=2)),
    train_cfg=dict(rpn_proposal=dict(nms_pre=200, max_per_img=96), rcnn=dict(sampler=dict(num=32))),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=200)),
)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].scale = test_pipeline[1].scale = (192, 192)
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
optim_wrapper = dict(optimizer=dict(lr=1.4e-3, betas=(0.9, 0.99)))
auto_scale_lr = dict(base_batch_size=4)
max_epochs = 6
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = 50
param_scheduler[1].end = param_scheduler[1].T_max = max_epochs
__import__('mmconvnext').use_own_data(locals())  # the last line
