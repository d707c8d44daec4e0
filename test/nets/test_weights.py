"""Foreign weights: the same tensors in torchvision's network and in ours give the same answers."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from torchvision.models import mobilenet_v2, mobilenet_v3_large, resnet18  # noqa: E402
from torchvision.models.detection import maskrcnn_resnet50_fpn  # noqa: E402
from torchvision.ops import box_iou  # noqa: E402
from torchvision.ops.misc import FrozenBatchNorm2d  # noqa: E402

from wsperception.data.sources.image_file import read_image  # noqa: E402
from wsperception.errors import InputError  # noqa: E402
from wsperception.nets.detect import detect  # noqa: E402
from wsperception.nets.perception_net import IMAGE_DEVIATION, IMAGE_MEAN, PerceptionNet  # noqa: E402
from wsperception.nets.settings import DetectSettings, NetSettings  # noqa: E402
from wsperception.nets.weights import coco_perception_net, for_our_inputs, load_imagenet  # noqa: E402

COCO_CAR, COCO_PERSON = 3, 1
DATA = Path(__file__).resolve().parents[3] / "shared/data"


def coco_mask_rcnn() -> torch.nn.Module:
    """torchvision's Mask R-CNN with random weights that find cars and people of many scores in noise."""
    torch.manual_seed(3)
    network = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, min_size=128, max_size=192, norm_layer=FrozenBatchNorm2d
    ).eval()
    with torch.no_grad():
        for module in network.backbone.body.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.mul_(0.75)
        network.rpn.head.cls_logits.weight.mul_(20)
        network.roi_heads.box_predictor.cls_score.weight.mul_(10)
        network.roi_heads.box_predictor.cls_score.bias[[COCO_PERSON, COCO_CAR]] += 6
    network.rpn.min_size = 1.0
    network.rpn._post_nms_top_n = {"testing": 300, "training": 300}
    network.roi_heads.score_thresh = 0.0
    network.roi_heads.detections_per_img = 150
    return network


def test_coco_mask_rcnn_is_reproduced(tmp_path: Path):
    network = coco_mask_rcnn()
    torch.save(network.state_dict(), tmp_path / "coco.pth")
    image = torch.randint(0, 255, (128, 192, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = network([image.permute(2, 0, 1).float() / 255])[0]
    found = detect(
        coco_perception_net(tmp_path / "coco.pth"),
        image[None],
        DetectSettings(min_score=0.0, box_nms=0.5, detections=150),
    )[0]
    for class_id, coco_id in ((0, COCO_CAR), (1, COCO_PERSON)):
        theirs, ours = expected["labels"] == coco_id, found.class_ids == class_id
        assert theirs.sum() > 5
        best, partner = box_iou(expected["boxes"][theirs], found.boxes[ours]).max(dim=1)
        assert best.min() > 0.999
        assert torch.allclose(expected["scores"][theirs], found.scores[ours][partner], atol=1e-5)
    assert torch.allclose(found.embeddings.norm(dim=1), torch.ones(len(found.embeddings)), atol=1e-4)


@pytest.mark.parametrize(
    ("backbone", "factory"),
    [("resnet18", resnet18), ("mobilenet_v2", mobilenet_v2), ("mobilenet_v3_large", mobilenet_v3_large)],
)
def test_imagenet_backbone_computes_the_classifiers_features(backbone: str, factory, tmp_path: Path):
    torch.manual_seed(1)
    classifier = factory(weights=None).eval()
    torch.save(classifier.state_dict(), tmp_path / "imagenet.pth")
    net = PerceptionNet(NetSettings(backbone=backbone, norm="frozen", fpn_channels=8), 2).eval()
    load_imagenet(net, tmp_path / "imagenet.pth")
    images = torch.randn(1, 3, 64, 64)
    seen = {}
    last = classifier.layer4 if backbone == "resnet18" else classifier.features
    last.register_forward_hook(lambda module, inputs, output: seen.update(output=output))
    with torch.no_grad():
        classifier(images)
        # Deep stacks of unequal summation order differ by rounding only.
        assert torch.allclose(net.backbone.body(images)[3], seen["output"], rtol=1e-3, atol=1e-4)


def test_weights_for_other_inputs_are_brought_to_ours():
    torch.manual_seed(5)
    normalisation = torch.nn.BatchNorm2d(2)
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3, bias=False), normalisation).eval()
    normalisation.running_mean = torch.tensor([0.5, -1.0])
    pixels = 255 * torch.rand(1, 3, 5, 6)
    mean, deviation = torch.tensor([128.0, 100, 90]), torch.tensor([128.0, 64, 32])
    with torch.no_grad():
        expected = layers(normal(pixels, mean, deviation))
        layers.load_state_dict(for_our_inputs(layers.state_dict(), mean, deviation))
        found = layers(normal(pixels, torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_DEVIATION)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_photograph_stays_what_it_was():
    weights = DATA / "imagenet_mobilenetv2/mobilenet_v2_from_tflite_quant.pth"
    photograph = DATA / "davis_car_shadow"
    if not weights.exists() or not photograph.exists():
        pytest.skip(f"no MobileNetV2 weights and photograph in {DATA}")
    names = (weights.parent / "imagenet_labels.txt").read_text().splitlines()[1:]
    image = torch.from_numpy(read_image(sorted(photograph.rglob("*.jpg"))[0])).permute(2, 0, 1)[None].float()
    pixels = torch.nn.functional.interpolate(image[..., :, 187:667], (224, 224), mode="bilinear", antialias=True)
    state, same = torch.load(weights, weights_only=True), torch.full((3,), 128.0)
    classifier = mobilenet_v2().eval()
    with torch.no_grad():
        classifier.load_state_dict(state)
        before = classifier(normal(pixels, same, same))[0].softmax(dim=0)
        classifier.load_state_dict(for_our_inputs(state, same, same))
        after = classifier(normal(pixels, torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_DEVIATION)))[0].softmax(dim=0)
    assert names[before.argmax()] == names[after.argmax()] == "minivan"


def normal(pixels: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    return (pixels - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)


def test_imagenet_needs_a_backbone_that_has_it(tmp_path: Path):
    with pytest.raises(InputError, match="backbone tiny, norm frozen: no ImageNet weights"):
        load_imagenet(PerceptionNet(NetSettings(backbone="tiny", fpn_channels=8), 2), tmp_path / "any.pth")


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 truncated"])
def test_a_broken_file_is_named(content: bytes, tmp_path: Path):
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.pth: not readable as weights"):
        coco_perception_net(path)


def test_weights_of_another_network_are_refused(tmp_path: Path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    net = PerceptionNet(NetSettings(backbone="resnet18", fpn_channels=8), 2)
    with pytest.raises(InputError, match=r"other\.pth: do not fit the network"):
        load_imagenet(net, tmp_path / "other.pth")
    with pytest.raises(InputError, match="expected the state dict of torchvision's maskrcnn_resnet50_fpn"):
        coco_perception_net(tmp_path / "other.pth")


def test_a_pickle_is_not_executed(tmp_path: Path):
    marker = tmp_path / "executed"

    class Malicious:
        def __reduce__(self):
            return (Path.touch, (marker,))

    torch.save({"weight": Malicious()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="not readable as weights"):
        coco_perception_net(tmp_path / "evil.pth")
    assert not marker.exists()
