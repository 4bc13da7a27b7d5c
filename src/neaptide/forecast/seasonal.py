"""What a series will be, judged by the same time in earlier periods (the same hour of earlier days)."""

import numpy as np

from neaptide.forecast.histograms import FloatArray


def seasonal_quantile(past: FloatArray, *, period: int, horizon: int, fraction: float) -> FloatArray:
    """The next `horizon` steps: for each, the quantile of what stood at that phase of every earlier period.

    Args:
        past: one value a step, the latest last; nan where unknown.
        period: steps in a season.
        horizon: steps to forecast.
        fraction: 0.5 is the median; higher is the safer reading of a load.

    Returns:
        [horizon], nan for a phase that was never seen.
    """
    lead = -len(past) % period
    seasons = np.concatenate((np.full(lead, np.nan), past)).reshape(-1, period)
    by_phase = np.full(period, np.nan)
    seen = ~np.isnan(seasons).all(axis=0)
    if seen.any():
        by_phase[seen] = np.nanquantile(seasons[:, seen], fraction, axis=0)
    # A padded past ends at the last phase, so that the next step is phase 0.
    return by_phase[np.arange(horizon) % period]
