# The data of `make demo-seg`: 440 toy images of 192 x 192 pixels, five classes; 6 epochs.
_base_ = '../_base_/segformer-head_convnext-atto_cpu.py'

own_data = dict(
    root='data/toy/ade',
    classes=['background', 'disc', 'square', 'triangle', 'star'],
    palette=[(110, 110, 110), (220, 60, 50), (50, 120, 220), (60, 180, 75), (245, 190, 40)],
    train=dict(images='images/training', annotations='annotations/training'),
    val=dict(images='images/validation', annotations='annotations/validation'),
    reduce_zero_label=True,  # outlines, id 0, are ignored
)
crop_size = (192, 192)
model = dict(data_preprocessor=dict(size=crop_size))
train_pipeline = _base_.train_pipeline
train_pipeline[2].update(scale=(768, 192))
train_pipeline[3].update(crop_size=crop_size)
test_pipeline = _base_.test_pipeline
test_pipeline[1].update(scale=(768, 192))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# Applies own_data to the whole config; this must be the last line.
__import__('mmconvnext').use_own_data(locals())
