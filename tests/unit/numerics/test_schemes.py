import pytest

from qutils.errors import InvalidInputError
from qutils.numerics.schemes import Recipe, Scheme


@pytest.mark.parametrize(
    ("bits", "signed", "symmetric", "qmin", "qmax"),
    [
        (8, True, True, -127, 127),
        (8, True, False, -128, 127),
        (8, False, False, 0, 255),
        (8, False, True, 1, 255),
        (4, True, True, -7, 7),
        (4, False, False, 0, 15),
        (2, True, True, -1, 1),
        (2, True, False, -2, 1),
    ],
)
def test_integer_limits(bits, signed, symmetric, qmin, qmax):
    scheme = Scheme(bits=bits, signed=signed, symmetric=symmetric)
    assert (scheme.qmin, scheme.qmax) == (qmin, qmax)


@pytest.mark.parametrize(
    ("scheme", "qmin"),
    [
        (Scheme(8, signed=True, symmetric=True, full_range=True), -128),
        (Scheme(2, signed=True, symmetric=True, full_range=True), -2),
        (Scheme(8, signed=False, symmetric=False, full_range=True), 0),
    ],
    ids=["s8", "s2", "affine-has-it-anyway"],
)
def test_full_range_keeps_the_lowest_integer(scheme, qmin):
    assert scheme.qmin == qmin


@pytest.mark.parametrize("bits", [1, 9, 0, -8, 4.0, "8", True, None])
def test_bits_outside_2_to_8_are_refused(bits):
    with pytest.raises(InvalidInputError, match=r"2\.\.8"):
        Scheme(bits=bits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"observer": "minmaxx"}, "did you mean 'minmax'"),
        ({"observer": "mze"}, "Choose from minmax, moving_average, percentile, mse, entropy"),
        ({"granularity": "per_chanel"}, "did you mean 'per_channel'"),
        ({"granularity": "per_group"}, "group_size goes with"),
        ({"group_size": 32}, "group_size goes with"),
        ({"granularity": "per_group", "group_size": 0}, "at least 1"),
        ({"granularity": "per_group", "group_size": 2.5}, "an integer of at least 1, got 2.5"),
        ({"granularity": "per_group", "group_size": "4"}, "an integer of at least 1, got '4'"),
    ],
)
def test_bad_settings_name_cause_and_mend(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        Scheme(**arguments)


def test_recipe_fills_in_what_the_role_asks():
    recipe = Recipe(weights=Scheme(bits=4), activations=Scheme(bits=6))
    assert (recipe.weights.signed, recipe.weights.symmetric) == (True, True)
    assert (recipe.activations.signed, recipe.activations.symmetric) == (False, False)
    assert recipe.label == "W4A6"


def test_recipe_keeps_what_was_chosen():
    recipe = Recipe(activations=Scheme(signed=True, symmetric=True))
    assert (recipe.activations.signed, recipe.activations.symmetric) == (True, True)


@pytest.mark.parametrize("role", ["activations", "boundary"])
def test_activations_per_channel_are_refused(role):
    with pytest.raises(InvalidInputError, match=f"{role} are quantized per_tensor"):
        Recipe(**{role: Scheme(granularity="per_channel")})
