"""The contract over the built-in predictors."""

import pytest

from hwnas.errors import UnknownNameError
from hwnas.predictors import PREDICTORS, Encoding, make_predictor
from hwnas.testing import PredictorContract


class TestPredictors(PredictorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def known(cls, mobile):
        return mobile

    @pytest.fixture(params=sorted(PREDICTORS))
    def make(self, request):
        return lambda encoding: make_predictor(encoding, request.param)


def test_an_unknown_predictor_names_the_nearest(mobile):
    with pytest.raises(UnknownNameError, match="Did you mean 'gaussian_process'"):
        make_predictor(Encoding.of(mobile.space), "gausian_process")
