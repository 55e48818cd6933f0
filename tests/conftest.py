"""How property tests run: on a busy machine an example may take its time."""

from hypothesis import HealthCheck, settings

settings.register_profile("a busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("a busy machine")
