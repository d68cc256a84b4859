# UPerNet with ConvNeXt on ADE20K at 512x512: heads, data and sliding-window test are those of
# mmseg's recipe; upernet_convnext_ade20k.py has the changes.
#
# The path is written out because mmengine cannot resolve 'mmseg::' where mmseg is installed under
# another distribution name, as in the onedl stack.
_base_ = [
    __import__('mmseg').__path__[0]
    + '/.mim/configs/convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py',
    './upernet_convnext_ade20k.py',
]
locals().update(_base_.pop('changes'))
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(4 * side, side), keep_ratio=True)
    for side in (256, 384, 512, 640, 768, 896)
]
