"""What a run will take, before anything is paid."""

from agentbatch.forecast.reckoning import Forecast, forecast

__all__ = ["Forecast", "forecast"]
