from .campaigns import Study as Study
from .campaigns import build as build
