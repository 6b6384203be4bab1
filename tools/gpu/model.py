"""A ViT-B/16 in timm's names with random weights: python3 model.py FILE."""
import sys

import timm
import torch
from safetensors.torch import save_file

torch.manual_seed(0)
vit = timm.create_model("vit_base_patch16_224", pretrained=False, num_classes=0)
save_file({name: values.contiguous() for name, values in vit.state_dict().items()}, sys.argv[1])
