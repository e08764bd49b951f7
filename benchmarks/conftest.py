"""Warnings of the peers about their own code are no faults of ours."""


def pytest_configure(config):
    for start in ("`torch.jit", "__array__ implementation", "nirtorch.load is being deprecated"):
        config.addinivalue_line("filterwarnings", f"ignore:{start}:DeprecationWarning")
