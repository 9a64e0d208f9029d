from .campaigns import build as build
from .studies import Study as Study
