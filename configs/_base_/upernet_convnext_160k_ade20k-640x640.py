# UPerNet with ConvNeXt on ADE20K at 640x640: heads, data and sliding-window test are those of
# mmseg's recipe; upernet_convnext_ade20k.py has the changes.
#
# The path is written out because mmengine cannot resolve 'mmseg::' where mmseg is installed under
# another distribution name, as in the onedl stack.
_base_ = [
    __import__('mmseg').__path__[0]
    + '/.mim/configs/convnext/convnext-base_upernet_8xb2-amp-160k_ade20k-640x640.py',
    './upernet_convnext_ade20k.py',
]
locals().update(_base_.pop('changes'))
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(4 * side, side), keep_ratio=True)
    for side in (320, 480, 640, 800, 960, 1120)
]
