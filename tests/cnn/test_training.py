from dataclasses import replace

import pytest
import torch
from nets import conv, linear
from torch import nn

from snnlib import Digits, Recipe, deep_cnn, digit_cnn, evaluate, fit
from snnlib.cnn.evaluating import confusion_counts
from snnlib.cnn.training import BETTER, augment

SHORT = Recipe(epochs=2)
OTHER_IMAGES = Digits(torch.zeros(4, 3, 20, 20), torch.zeros(4, dtype=torch.int64))


def weights_of(cnn):
    return {name: weight.clone() for name, weight in cnn.state_dict().items()}


def same_weights(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_the_default_recipe_is_the_example_s():
    assert Recipe() == Recipe(
        epochs=15, lr=0.05, momentum=0.5, batch_size=40, schedule="constant", augment=False
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("epochs", 0),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("batch_size", 0),
        ("weight_decay", -1e-4),
        ("schedule", "cosine"),
        ("dropout", 1.0),
    ],
)
def test_a_recipe_outside_its_range_is_refused(option, value):
    with pytest.raises(ValueError, match=f"^{option} is {value!r}"):
        Recipe(**{option: value})


def test_training_lowers_the_loss_and_learns_the_digits(train):
    cnn = digit_cnn()
    history = fit(cnn, train, replace(SHORT, epochs=4), progress=False)
    assert history.loss[-1] < history.loss[0] / 2
    assert evaluate(cnn, train).accuracy > 0.8


def test_a_better_recipe_learns_too(train):
    recipe = replace(BETTER, epochs=4)
    history = fit(digit_cnn(), train, recipe, progress=False)
    assert history.loss[-1] < history.loss[0] / 1.5


def test_the_same_seed_trains_the_same_weights(train):
    few, recipe = train[:120], Recipe(epochs=1, augment=True, dropout=0.5)
    weights = []
    for seed in (1, 1, 2):
        cnn = digit_cnn()
        fit(cnn, few, recipe, seed=seed, progress=False)
        weights.append(weights_of(cnn))
    assert same_weights(weights[0], weights[1])
    assert not same_weights(weights[0], weights[2])


@pytest.mark.parametrize(
    "option",
    [
        {"epochs": 3},
        {"lr": 0.06},
        {"momentum": 0.6},
        {"batch_size": 30},
        {"nesterov": True},
        {"weight_decay": 0.01},
        {"schedule": "one-cycle"},
        {"augment": True},
        {"dropout": 0.5},
    ],
)
def test_every_option_of_a_recipe_is_used(train, option):
    plain, other = digit_cnn(), digit_cnn()
    fit(plain, train[:60], SHORT, progress=False)
    fit(other, train[:60], replace(SHORT, **option), progress=False)
    assert not same_weights(plain.state_dict(), other.state_dict())


def test_training_leaves_the_random_state_as_it_was(train):
    before = torch.get_rng_state()
    fit(digit_cnn(), train[:40], SHORT, progress=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_history_has_an_entry_an_epoch(train, digits):
    seen = []
    cnn = digit_cnn()
    history = fit(cnn, train[:80], SHORT, validation=digits, progress=False, on_epoch=seen.append)
    assert [len(part.loss) for part in seen] == [1, 2]
    assert seen[-1] == history
    assert len(history.accuracy) == len(history.validation_accuracy) == 2
    assert history.validation_accuracy[-1] == evaluate(cnn, digits).accuracy


def test_without_validation_images_nothing_is_validated(train):
    assert fit(digit_cnn(), train[:40], SHORT, progress=False).validation_accuracy == ()


def test_a_network_of_any_form_is_trained_in_training_mode(train):
    cnn = deep_cnn()
    fit(cnn, train[:80], SHORT, progress=False)
    norms = [layer for layer in cnn.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert [int(norm.num_batches_tracked) for norm in norms] == [4] * 5  # 2 epochs of 2 batches


def test_dropout_of_a_recipe_needs_a_last_layer(train):
    recipe = Recipe(dropout=0.5)
    with pytest.raises(ValueError, match=r"dropout is 0.5, but a DeepCNN does.*dropout=0.0"):
        fit(deep_cnn(), train[:40], recipe, progress=False)


def test_a_loss_that_is_no_number_is_an_error_that_names_the_learning_rate(train):
    with pytest.raises(ValueError, match=r"lower lr \(now 1e\+20\)"):
        fit(digit_cnn(), train[:80], Recipe(lr=1e20), progress=False)


@pytest.mark.parametrize("call", [evaluate, fit])
def test_images_that_do_not_fit_the_network_are_refused(call):
    with pytest.raises(ValueError, match=r"images of shape \[3, 20, 20\] do not fit the network"):
        call(digit_cnn(), OTHER_IMAGES)


@pytest.mark.parametrize("call", [evaluate, fit])
def test_a_network_with_another_number_of_classes_is_refused(call, digits):
    cnn = nn.Sequential(nn.Flatten(), linear(784, 9))
    with pytest.raises(ValueError, match=r"gives \[9\] outputs for 10 classes; end it with"):
        call(cnn, digits)


@pytest.mark.parametrize("mode", [True, False])
def test_a_refusal_leaves_the_mode_of_the_network_as_it_was(mode):
    cnn = digit_cnn().train(mode)
    with pytest.raises(ValueError, match="do not fit"):
        evaluate(cnn, OTHER_IMAGES)
    assert cnn.training is mode


def test_evaluation_counts_what_is_right(cnn, digits):
    result = evaluate(cnn, digits)
    expected = cnn(digits.images).argmax(1)
    assert torch.equal(result.predictions, expected)
    assert result.accuracy == (expected == digits.labels).double().mean().item()
    counts = torch.zeros(10, 10, dtype=torch.int64)
    for label, prediction in zip(digits.labels, expected, strict=True):
        counts[label, prediction] += 1
    assert torch.equal(result.confusion, counts)


@pytest.mark.parametrize("mode", [True, False])
def test_evaluation_leaves_the_network_as_it_was(digits, mode):
    cnn = digit_cnn().train(mode)
    before = weights_of(cnn)
    evaluate(cnn, digits)
    assert cnn.training is mode
    assert same_weights(before, cnn.state_dict())


def test_evaluation_ignores_dropout(digits):
    cnn = nn.Sequential(
        conv(1, 4, 5), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), linear(2304, 10)
    ).train()
    assert torch.equal(evaluate(cnn, digits).predictions, evaluate(cnn, digits).predictions)


def test_predictions_are_ordinary_tensors(cnn, digits):
    assert not evaluate(cnn, digits).predictions.is_inference()


def test_undecided_images_are_in_no_cell_of_the_confusion():
    confusion = confusion_counts(torch.tensor([0, 1, 1, 2]), torch.tensor([0, -1, 2, 1]), 3)
    assert confusion.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_augmented_images_are_still_images(digits):
    images = digits.images
    torch.manual_seed(0)
    changed = augment(images)
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed != images).flatten(1).any(1).all()


def test_augmentation_moves_a_digit_only_a_little(digits):
    torch.manual_seed(0)
    places = torch.arange(28.0)

    def centres(images):
        rows = (images.sum((1, 3)) * places).sum(1) / images.sum((1, 2, 3))
        columns = (images.sum((1, 2)) * places).sum(1) / images.sum((1, 2, 3))
        return torch.stack([rows, columns])

    moved = (centres(augment(digits.images)) - centres(digits.images)).abs()
    assert moved.max() < 3.5
    assert moved.mean() > 0.5
