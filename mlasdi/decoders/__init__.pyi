from .autoencoder import AutoencoderSettings as AutoencoderSettings
from .autoencoder import DecoderSettings as DecoderSettings
from .autoencoder import Kappas as Kappas
from .autoencoder import fit_autoencoder as fit_autoencoder
from .autoencoder import fit_decoder as fit_decoder
from .sine_frequency import with_kappa as with_kappa
from .variable_projection import VariableProjectionSettings as VariableProjectionSettings
from .variable_projection import fit_latent_model as fit_latent_model
