from .noise import Denoised as Denoised
from .noise import NoiseSetting as NoiseSetting
from .noise import denoised as denoised
from .noise import noise_std as noise_std
from .pod import BasisSettings as BasisSettings
from .pod import PodBasis as PodBasis
from .threads import limited_threads as limited_threads
from .training_data import TrainingData as TrainingData
