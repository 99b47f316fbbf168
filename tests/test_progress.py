import inspect

from hwnas.progress import OnProgress, silent


def test_the_default_listener_takes_what_the_protocol_says_and_is_silent(capsys):
    assert silent("measuring", 1, 2) is None
    assert silent("training", 2, 2, "loss 0.31") is None
    assert capsys.readouterr() == ("", "")


def test_the_default_listener_has_the_signature_of_the_protocol():
    wanted = list(inspect.signature(OnProgress.__call__).parameters.values())[1:]
    assert list(inspect.signature(silent).parameters.values()) == wanted
