# Faster R-CNN ConvNeXt-T 3x, for data with boxes only: Mask R-CNN's recipe without the mask branch.
# No published result.
_base_ = '../mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'

model = dict(type='FasterRCNN', roi_head=dict(mask_roi_extractor=None, mask_head=None))

train_pipeline = _base_.train_pipeline
train_pipeline[1].update(with_mask=False)
test_pipeline = _base_.test_pipeline
test_pipeline[2].update(with_mask=False)

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
