# The data of `make demo-seg`: 440 toy images of 192 x 192 pixels with five classes.
_base_ = '../_base_/segformer-head_convnext-atto_cpu.py'
own_data = dict(
    root='data/toy/ade',
    classes=['background', 'disc', 'square', 'triangle', 'star'],
    train=dict(images='images/training', annotations='annotations/training'),
    val=dict(images='images/validation', annotations='annotations/validation'),
    reduce_zero_label=True,  # id 0, on the outlines of objects, is ignored
)
crop_size = (192, 192)
data_preprocessor = dict(size=crop_size)
model = dict(data_preprocessor=data_preprocessor)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].scale = test_pipeline[1].scale = (768, 192)
train_pipeline[3].crop_size = crop_size
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
__import__('mmconvnext').use_own_data(locals())  # the last line
