"""The analyses as methods of a surrogate."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from mlasdi.analysis.inputs import Given, Inputs
from mlasdi.analysis.quantities import Function, Model, Quantities, quantities_of, times_of, warn

if TYPE_CHECKING:
    from mlasdi.analysis.calibration import Calibration
    from mlasdi.analysis.optimisation import Limit, Optimum
    from mlasdi.analysis.propagation import Propagation
    from mlasdi.analysis.sensitivity import Sensitivity


class Analyses:
    """What a surrogate answers beyond predictions; the surrogate's own error is part of each answer.

    **Quantities** are `"mean(u)"`, `"rms(u)"`, `"min(u)"` or `"max(u)"` of a field `u` over all places, `"u(x=0.5)"` at
    one place (several coordinates: `"u(x=0.5, y=1)"`), or a function of the predicted trajectories, a
    [Prediction][mlasdi.Prediction] without standard deviations. The function returns one value for each, `[param]`, or
    one at each time, `[param, time]`: `lambda p: p["u"].max(axis=-1)`.

    **Distributions** of parameters are `"normal(mean, std)"`, `"lognormal(median, sigma)"` with the standard deviation
    sigma of the logarithm, `"uniform(low, high)"`, `"loguniform(low, high)"`, `(low, high)`, a fixed number, or a
    distribution of `scipy.stats`. They are independent, and truncated to the trained box. Parameters that are not
    named are uniform over their range, on their scale.

    Where runs end at different times, `"end_time"` is a quantity, too; fields of a run that has ended keep their last
    values, and sentences such as `"max over time of u"` are about the time before the end.

    The error of the surrogate enters by functions drawn from its distribution, as by `sample`.
    """

    def sensitivity(
        self: Model,
        quantity: Quantities | None = None,
        distributions: Mapping[str, Given] | None = None,
        t: ArrayLike | None = None,
        *,
        n: int = 512,
        draws: int = 32,
        seed: int = 0,
    ) -> "Sensitivity":
        """Sobol indices, first-order and total: the shares of the variance of quantities that parameters explain.

        Args:
            quantity: one or several, or name -> quantity; by default the root mean square of each field.
            distributions: of the parameters.
            t: times `[time]`; those of training by default.
            n: number of base points, a power of 2, at least 16; `n (d + 2)` points are predicted for d parameters.
            draws: number of functions drawn from the distribution of the surrogate.
            seed: of all random numbers.

        Raises:
            ValueError: an argument cannot be read, or linear constraints make the parameters dependent.

        Examples:
            >>> model.sensitivity("max(u)").to_dataframe()  # doctest: +SKIP
        """
        from mlasdi.analysis.sensitivity import sensitivity_of

        inputs = Inputs.of(self.space, distributions)
        return sensitivity_of(
            self.holding_end(), quantities_of(self, quantity), inputs, times_of(self, t), n=n, draws=draws, seed=seed
        )

    def propagate(
        self: Model,
        distributions: Mapping[str, Given] | None = None,
        n: int = 1024,
        quantity: Quantities | None = None,
        t: ArrayLike | None = None,
        *,
        levels: Sequence[float] = (0.05, 0.5, 0.95),
        draws: int = 32,
        seed: int = 0,
    ) -> "Propagation":
        """Mean, standard deviation and quantiles of fields or quantities, for distributions of the parameters.

        Args:
            distributions: of the parameters.
            n: number of points; the next larger power of 2 is taken.
            quantity: one or several, or name -> quantity; by default whole fields.
            t: times `[time]`; those of training by default.
            levels: of the quantiles.
            draws: number of functions drawn from the distribution of the surrogate, for quantities.
            seed: of all random numbers.

        Raises:
            ValueError: an argument cannot be read.

        Warns:
            AnalysisWarning: part of a distribution lies outside of the trained box, and is left out.

        Examples:
            >>> model.propagate({"a": "normal(0.8, 0.02)"}, quantity="max(u)")  # doctest: +SKIP
        """
        from mlasdi.analysis.propagation import propagated

        inputs = Inputs.of(self.space, distributions)
        quantities = () if quantity is None else quantities_of(self, quantity)
        times = times_of(self, t)
        found = propagated(self.holding_end(), quantities, inputs, times, n=n, levels=levels, draws=draws, seed=seed)
        warn(found.warnings)
        return found

    def calibrate(
        self: Model,
        data: Any,
        noise: Any,
        t: ArrayLike | None = None,
        *,
        sensors: Mapping[str, ArrayLike] | None = None,
        fields: Sequence[str] | None = None,
        prior: Mapping[str, Given] | None = None,
        walkers: int | None = None,
        max_steps: int = 1000,
        seed: int = 0,
    ) -> "Calibration":
        """The parameters from measurements: their posterior, which knows noise and the error of the surrogate.

        Args:
            data: a table, as DataFrame or mapping, with columns `t`, each coordinate and each measured field; or an
                array `[time, value]`: all places of one field, then of the next. NaN is not measured.
            noise: standard deviation of the noise, which is normal and independent: one number, field -> number, or for
                an array one for each value.
            t: times of an array; those of training by default.
            sensors: places of an array: coordinate -> coordinate of each; by default all points of the grid.
            fields: fields of an array; all by default.
            prior: distributions of the parameters before the measurements.
            walkers: of the sampler; by default 32, or four for each parameter if that is more.
            max_steps: of the sampler, at most; it ends earlier once it has converged.
            seed: of all random numbers.

        Raises:
            ValueError: measurements cannot be read, lie outside of the grid or of the trained interval, or `noise` is
                not positive.

        Warns:
            AnalysisWarning: the posterior is at the edge of the box, the sampler has not converged, or residuals are
                not what noise and surrogate explain.

        Examples:
            >>> model.calibrate(table, noise=0.01).to_dataframe()  # doctest: +SKIP
        """
        from mlasdi.analysis.calibration import calibrated
        from mlasdi.analysis.measurements import Measurements

        if hasattr(data, "columns") or isinstance(data, Mapping):
            if t is not None or sensors is not None or fields is not None:
                raise ValueError(
                    "a table of measurements has its own times, places and fields; give an array with t, sensors"
                )
            measurements = Measurements.from_table(self, data, noise)
        else:
            measurements = Measurements.from_array(self, data, noise, t, sensors, fields)
        inputs = Inputs.of(self.space, prior)
        found = calibrated(self.holding_end(), measurements, inputs, walkers=walkers, max_steps=max_steps, seed=seed)
        warn(found.warnings)
        return found

    def optimise(
        self: Model,
        objective: str | Function,
        constraints: "Sequence[Limit] | str" = (),
        t: ArrayLike | None = None,
        *,
        over_time: str | None = None,
        maximise: bool = False,
        ranges: Mapping[str, Given] | None = None,
        draws: int = 64,
        seed: int = 0,
    ) -> "Optimum":
        """The parameters at which a quantity is smallest, or largest, and the surrogate's error there.

        Args:
            objective: a quantity.
            constraints: texts such as `"max(u) <= 0.9"`, or tuples `(quantity, low, high)` with None for no limit; they
                hold at all times.
            t: times `[time]`; those of training by default.
            over_time: how values at all times become one: `mean`, `min`, `max` or `last`; needed if there are several.
            maximise: search the largest value.
            ranges: parameter -> `(low, high)` within the box, or a fixed value; the whole range by default.
            draws: number of functions drawn from the distribution of the surrogate.
            seed: of all random numbers.

        Raises:
            ValueError: an argument cannot be read, or the objective has several values and `over_time` is not given.

        Warns:
            AnalysisWarning: the optimum is at the edge of the box, a constraint may not hold, or none can be met.

        Examples:
            >>> model.optimise("max(u)", ["mean(u) >= 0.1"], over_time="last").mu  # doctest: +SKIP
        """
        from mlasdi.analysis.optimisation import optimised

        inputs = Inputs.of(self.space, ranges)
        found = optimised(
            self.holding_end(), objective, inputs, times_of(self, t), constraints=constraints, over_time=over_time,
            maximise=maximise, draws=draws, seed=seed,
        )  # fmt: skip
        warn(found.warnings)
        return found
