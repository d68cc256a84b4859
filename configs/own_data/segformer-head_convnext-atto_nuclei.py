# Own label maps, trained from random weights on a CPU: cell nuclei of BBBC038v1 (CC0), 256 x 256
# pixels, which are background (0) or nucleus (1). Copy this file for yours.
_base_ = '../_base_/segformer-head_convnext-atto_cpu.py'

own_data = dict(
    root='data/nuclei_maps',
    classes=['background', 'nucleus'],
    train=dict(images='train/images', annotations='train/labels'),
    val=dict(images='val/images', annotations='val/labels'),
    image_suffix='.png',
)

# Applies own_data to the whole config; this must be the last line.
__import__('mmconvnext').use_own_data(locals())
