import numpy as np
from skfem import Basis, ElementTriP2, ElementVector, FacetBasis, LinearForm, MeshTri, condense, solve
from skfem.helpers import sym_grad
from skfem.models.elasticity import lame_parameters, linear_elasticity, linear_stress

from mlasdi.solvers import Mesh

GRID = MeshTri.init_tensor(np.linspace(0, 2, 41), np.linspace(0, 1, 21))


def plate(young, poisson, angle):
    """An elastic plate, held at its left side, is pulled at its right side in the direction of an angle."""
    basis = Basis(GRID, ElementVector(ElementTriP2()))
    lame = lame_parameters(young, poisson)
    pull = 1e6 * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    right = FacetBasis(GRID, basis.elem, facets=GRID.facets_satisfying(lambda x: x[0] == 2))
    load = LinearForm(lambda v, w: pull[0] * v[0] + pull[1] * v[1]).assemble(right)
    u = solve(*condense(linear_elasticity(*lame).assemble(basis), load, D=basis.get_dofs(lambda x: x[0] == 0)))
    stress = linear_stress(*lame)(sym_grad(basis.interpolate(u))).mean(axis=-1)
    mises = np.sqrt(stress[0, 0] ** 2 - stress[0, 0] * stress[1, 1] + stress[1, 1] ** 2 + 3 * stress[0, 1] ** 2)
    mesh = Mesh(GRID.p.T, {"triangle": GRID.t.T})
    return {"u": u[basis.nodal_dofs].T, "peak": mises.max(), "compliance": load @ u, "mesh": mesh}
