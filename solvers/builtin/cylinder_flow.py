"""Incompressible flow past a cylinder in a channel by finite elements: the DFG benchmark geometry, with NGSolve."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import sparse

from mlasdi.solvers import SolverError

LENGTH, HEIGHT = 2.2, 0.41
CENTRE, RADIUS = (0.2, 0.2), 0.05
U_MAX = 1.5
U_MEAN = 2 / 3 * U_MAX
_COEFFICIENT = 2 / (U_MEAN**2 * 2 * RADIUS)  # of a force per length
# Initial transverse velocity that triggers vortex shedding: its magnitude, width, and centre behind the cylinder.
# Without it the flow stays symmetric for several time units.
_PUSH, _PUSH_WIDTH, _PUSH_CENTRE = 0.3, 0.05, (0.35, 0.2)
# Multiple of the pressure's mass matrix that makes the saddle-point matrix factorisable without pivoting.
_PRESSURE_PENALTY = 1e-10


class CylinderFlow:
    """u_t + (u . grad) u - nu lap u + grad p = 0, div u = 0, past a cylinder, with a fixed time step.

    Geometry, inflow (parabolic, largest velocity 1.5) and outflow (do nothing) of the benchmark 2D-2 of Schaefer and
    Turek, Notes Numer. Fluid Mech. 52 (1996), which is not symmetric about the axis of the channel. Curved Taylor-Hood
    elements. SBDF2 in time (Ascher, Ruuth and Wetton, SIAM J. Numer. Anal. 32, 1995):

        (3 u+ - 4 u + u-) / (2 dt) + nu K u+ + B^T p+ = -(2 C(u) - C(u-)),   B u+ = 0,

    so that all steps share one matrix, which is factorised once. At the start u- = u.

    Attributes:
        n_velocity: number of velocity coefficients.
        lift, drag: coefficients 2 F / (U_MEAN^2 D) after the last step, D the diameter. The residual of the scheme,
            tested with a field that is 1 on the cylinder, gives the force (John, Int. J. Numer. Meth. Fluids 44, 2004).
    """

    def __init__(self, nu: float, dt: float, order: int, maxh: float, maxh_cylinder: float) -> None:
        """Make the mesh, assemble and factorise the matrices, and call `start()`.

        Args:
            nu: kinematic viscosity.
            order: polynomial degree of the velocity; that of the pressure is one less.
            maxh, maxh_cylinder: size of the elements, and of those at the cylinder.

        Raises:
            SolverError: `missing-package`: NGSolve is not installed.
        """
        self._ng = _ngsolve()
        self.dt = dt
        self._mesh = _mesh(self._ng, order, maxh, maxh_cylinder)
        self._assemble(nu, order)
        self.n_velocity = self._velocity.ndof
        self._gfu = self._ng.GridFunction(self._velocity)
        self._convected = self._gfu.vec.CreateVector()
        self._solution, self._rhs = self._inflow.CreateVector(), self._inflow.CreateVector()
        # NumPy views of these vectors, not copies.
        self._gfu_array, self._convected_array = _numpy(self._gfu.vec), _numpy(self._convected)
        self._solution_array, self._rhs_array = _numpy(self._solution), _numpy(self._rhs)
        self.start()

    def _assemble(self, nu: float, order: int) -> None:
        ng = self._ng
        self._velocity = ng.VectorH1(self._mesh, order=order, dirichlet="wall|cylinder|inlet")
        both = self._velocity * ng.H1(self._mesh, order=order - 1)
        (u, p), (v, q) = both.TnT()
        # The do-nothing condition at the outlet of the benchmark belongs to the gradient, not the symmetric gradient.
        viscous = nu * ng.InnerProduct(ng.grad(u), ng.grad(v))
        stokes = viscous - ng.div(u) * q - ng.div(v) * p - _PRESSURE_PENALTY * p * q
        step = (1.5 / self.dt * u * v + stokes) * ng.dx
        self._matrix = _form(ng, step, both).mat
        self._inverse = _inverse(ng, step, both)
        u, v = self._velocity.TnT()
        self._convection = ng.BilinearForm(self._velocity, nonassemble=True)
        self._convection += ng.InnerProduct(ng.grad(u) * u, v) * ng.dx
        # One component at a time: the coefficients of a vector field are those of x, then those of y.
        component = ng.H1(self._mesh, order=order)
        u, v = component.TnT()
        mass = ng.BilinearForm(u * v * ng.dx).Assemble().mat
        self._mass = sparse.csr_array(mass.CSR(), shape=(mass.height, mass.width), copy=True)  # CSR() shares memory
        self._inflow = self._field(both, ng.CF((4 * U_MAX * ng.y * (HEIGHT - ng.y) / HEIGHT**2, 0)), "inlet")
        self._inflow_terms = _numpy(self._times_matrix(self._inflow)).copy()
        self._probes = [self._field(both, ng.CF(direction), "cylinder") for direction in ((1, 0), (0, 1))]
        self._probe_terms = [self._times_matrix(probe) for probe in self._probes]

    def _field(self, space: Any, value: Any, boundary: str) -> Any:
        """Coefficients of velocity and pressure: the velocity is `value` on one boundary, the rest is 0."""
        gf = self._ng.GridFunction(space)
        gf.components[0].Set(value, definedon=self._mesh.Boundaries(boundary))
        return gf.vec

    def _times_matrix(self, vector: Any) -> Any:
        product = vector.CreateVector()
        product.data = self._matrix * vector
        return product

    def start(self, velocity: Float[np.ndarray, " coefficient"] | None = None) -> None:
        """Set the initial velocity by its coefficients; by default at rest with a transverse perturbation.

        Raises:
            ValueError: the number of coefficients does not match this mesh.
        """
        if velocity is None:
            velocity = self._push()
        if velocity.shape != (self.n_velocity,):
            raise ValueError(f"a velocity of shape {velocity.shape} given; this mesh has [{self.n_velocity}]")
        self._levels = [velocity.astype(float)] * 3  # oldest first
        self._convection_before = self._convection_of(velocity)
        self.drag = self.lift = float("nan")

    def _push(self) -> Float[np.ndarray, " coefficient"]:
        """The transverse perturbation behind the cylinder."""
        ng, (x, y) = self._ng, _PUSH_CENTRE
        push = ng.GridFunction(self._velocity)
        push.Set(ng.CF((0, _PUSH * ng.exp(-((ng.x - x) ** 2 + (ng.y - y) ** 2) / _PUSH_WIDTH**2))))
        free = np.array(self._velocity.FreeDofs(), dtype=bool)
        return np.where(free, _numpy(push.vec), 0)

    def _convection_of(self, velocity: Float[np.ndarray, " coefficient"]) -> Float[np.ndarray, " coefficient"]:
        self._gfu_array[:] = velocity
        self._convection.Apply(self._gfu.vec, self._convected)
        return self._convected_array.copy()

    def step(self) -> None:
        """Advance by one time step.

        Raises:
            SolverError: `not-finite`: the flow diverges.
        """
        _, before, now = self._levels
        convection = self._convection_of(now)
        history = ((2 * now - 0.5 * before) / self.dt).reshape(2, -1)
        rhs = self._rhs_array
        rhs[self.n_velocity :] = 0
        rhs[: self.n_velocity] = np.concatenate([self._mass @ part for part in history])
        rhs[: self.n_velocity] -= 2 * convection - self._convection_before
        loads = [self._ng.InnerProduct(probe, self._rhs) for probe in self._probes]
        rhs -= self._inflow_terms
        self._solution.data = self._inflow + self._inverse * self._rhs
        inner = [self._ng.InnerProduct(terms, self._solution) for terms in self._probe_terms]
        self.drag, self.lift = (_COEFFICIENT * (load - other) for load, other in zip(loads, inner, strict=True))
        if not np.isfinite(self.lift):
            raise SolverError("not-finite", "the flow grows without bound; take a smaller dt, or a finer mesh")
        self._levels = [before, now, self._solution_array[: self.n_velocity].copy()]
        self._convection_before = convection

    @property
    def velocity(self) -> Float[np.ndarray, " coefficient"]:
        """Coefficients after the last step, as `start` takes them."""
        return self._levels[-1]

    def points(self, x: Float[np.ndarray, " point"], y: Float[np.ndarray, " point"]) -> Any:
        """Points located in the mesh, for `speed`; a search, so it is done once."""
        return self._mesh(x, y)

    def speed(self, points: Any, s: float) -> Float[np.ndarray, " point"]:
        """|u| at points, at the fraction `s` in [0, 1] of the last step, by quadratic interpolation in time."""
        weights = (s * (s - 1) / 2, 1 - s**2, s * (s + 1) / 2)
        self._gfu_array[:] = sum(w * level for w, level in zip(weights, self._levels, strict=True))
        return np.linalg.norm(self._gfu(points), axis=-1)


def _ngsolve() -> Any:
    # Imported on first use: the package is an optional dependency of 255 MB and takes a second to import.
    try:
        import ngsolve
    except ImportError as error:
        remedy = "the cylinder wake needs NGSolve: pip install 'mlasdi[wake]'"
        raise SolverError("missing-package", f"{remedy} ({error})") from error
    ngsolve.ngsglobals.msg_level = 0  # otherwise it writes to standard output
    ngsolve.SetNumThreads(1)
    return ngsolve


def _mesh(ng: Any, order: int, maxh: float, maxh_cylinder: float) -> Any:
    from netgen.geom2d import SplineGeometry

    geometry = SplineGeometry()
    geometry.AddRectangle((0, 0), (LENGTH, HEIGHT), bcs=("wall", "outlet", "wall", "inlet"))
    geometry.AddCircle(CENTRE, r=RADIUS, leftdomain=0, rightdomain=1, bc="cylinder", maxh=maxh_cylinder)
    mesh = ng.Mesh(geometry.GenerateMesh(maxh=maxh))
    mesh.Curve(order)
    return mesh


def _form(ng: Any, integrals: Any, space: Any, **options: Any) -> Any:
    form = ng.BilinearForm(space, symmetric=True, **options)
    form += integrals
    return form.Assemble()


def _inverse(ng: Any, integrals: Any, space: Any) -> Any:
    """The inverse as an operator, with static condensation, which saves a fifth of its time."""
    form = _form(ng, integrals, space, condense=True)
    coupled = form.mat.Inverse(space.FreeDofs(coupling=True), inverse="sparsecholesky")
    one = ng.IdentityMatrix(space.ndof)
    return (one + form.harmonic_extension) @ coupled @ (one + form.harmonic_extension_trans) + form.inner_solve


def _numpy(vector: Any) -> Float[np.ndarray, " coefficient"]:
    """A NumPy view of an NGSolve vector; valid as long as the vector exists."""
    return vector.FV().NumPy()
